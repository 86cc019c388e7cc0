// SPDX-License-Identifier: Apache-2.0
// The page of sluiced, as the build has made it from host/daemon/page.
#include <array>

#include "api_handlers.hpp"

// A file of the page, with the names of its beginning and of its end.
#define SLUICE_PAGE_FILE(name, file)                                                            \
  extern "C" const char name[];       /* NOLINT */                                              \
  extern "C" const char name##_end[]; /* NOLINT */                                              \
  asm(".section .rodata\n.global " #name "\n" #name ":\n.incbin \"" SLUICE_PAGE_FOLDER "/" file \
      "\"\n" /* NOLINT */                                                                       \
      ".global " #name "_end\n" #name "_end:\n.byte 0\n.previous\n")

SLUICE_PAGE_FILE(sluice_page_html, "index.html");
SLUICE_PAGE_FILE(sluice_page_script, "page.js");
SLUICE_PAGE_FILE(sluice_page_style, "page.css");

namespace sluice::inline daemon {
namespace {

ApiResponse file(std::string type, const char* begin, const char* end) {
  return {.status = 200, .type = std::move(type), .body = std::string(begin, end), .allow = {}};
}

}  // namespace

ApiAnswer Api::Handlers::get_page(const ApiCall& /*call*/) {
  return file("text/html; charset=utf-8", sluice_page_html, sluice_page_html_end);
}

ApiAnswer Api::Handlers::get_page_script(const ApiCall& /*call*/) {
  return file("text/javascript; charset=utf-8", sluice_page_script, sluice_page_script_end);
}

ApiAnswer Api::Handlers::get_page_style(const ApiCall& /*call*/) {
  return file("text/css; charset=utf-8", sluice_page_style, sluice_page_style_end);
}

}  // namespace sluice::inline daemon
