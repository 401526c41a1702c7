#include "control/file.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace postern::control {

net::Result<std::string> ReadFile(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), &std::fclose);
  if (!file) return net::Error{std::strerror(errno)};
  struct stat status {};
  if (fstat(fileno(file.get()), &status) == 0 && S_ISDIR(status.st_mode)) {
    return net::Error{std::strerror(EISDIR)};
  }
  std::string content;
  std::array<char, 65536> chunk;
  for (size_t n; (n = std::fread(chunk.data(), 1, chunk.size(), file.get())) > 0;) {
    content.append(chunk.data(), n);
  }
  if (std::ferror(file.get()) != 0) return net::Error{std::strerror(errno)};
  return content;
}

}  // namespace postern::control
