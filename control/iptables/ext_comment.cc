// -m comment.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::CommentMatch;

constexpr OptionSpec kOptions[] = {
    {"comment", 0, OptionType::kString, OptionSpec::kMandatory},
};
constexpr size_t kMaxLength = 255;

class CommentExtension : public MatchOf<CommentMatch> {
 public:
  CommentExtension() : MatchOf("comment") {}
  std::span<const OptionSpec> options() const override { return kOptions; }

 protected:
  void ParseStruct(const OptionCall& call, CommentMatch* match) const override {
    // The original takes it and then can't read its own file.
    if (call.argument.find('\n') != std::string::npos) Fail("Newlines not allowed in --comment");
    match->comment = call.argument.substr(0, kMaxLength);
  }
  void SaveStruct(const PrintContext&, const CommentMatch& match, std::string* out) const override {
    *out += " --comment";
    AppendQuoted(match.comment, out);
  }
  void ListStruct(const PrintContext&, const CommentMatch& match, std::string* out) const override {
    *out += " /* " + match.comment + " */";
  }
};

}  // namespace

const MatchExtension& CommentMatchExtension() {
  static const CommentExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables
