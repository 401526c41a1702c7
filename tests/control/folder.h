// A folder for a test's files, gone when the test ends.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace postern::test {

class Folder {
 public:
  Folder() {
    std::string pattern = ::testing::TempDir() + "postern-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string Write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name) << content;
    return path_ + "/" + name;
  }
  std::string Read(const std::string& name) const {
    std::ifstream stream(path_ + "/" + name);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace postern::test
