// SPDX-License-Identifier: Apache-2.0
// The page of sluiced, as the build has made it from host/daemon/page.
#include <utility>

#include "api_handlers.hpp"
#include "sluice/base/embedded_file.hpp"

SLUICE_EMBEDDED_FILE(sluice_page_html, SLUICE_PAGE_FOLDER "/index.html");
SLUICE_EMBEDDED_FILE(sluice_page_script, SLUICE_PAGE_FOLDER "/page.js");
SLUICE_EMBEDDED_FILE(sluice_page_style, SLUICE_PAGE_FOLDER "/page.css");

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
