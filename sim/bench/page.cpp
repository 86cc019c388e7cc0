// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/page.hpp"

#include <boost/json.hpp>
#include <string_view>

#include "sluice/base/embedded_file.hpp"

// The page as the build has made it from sim/bench/report.
SLUICE_EMBEDDED_FILE(sluice_report_page, SLUICE_REPORT_PAGE);

namespace sluice::bench {

std::string to_page(const Results& results) {
  constexpr std::string_view kPlace = "@RESULTS@";
  const std::string_view page(sluice_report_page, sluice_report_page_end);
  std::string data = boost::json::serialize(to_json(results));
  // Inside a script nothing may look like its end.
  for (std::size_t at = data.find("</"); at != std::string::npos; at = data.find("</", at)) data.replace(at, 2, "<\\/");
  const std::size_t place = page.find(kPlace);
  std::string whole(page.substr(0, place));
  whole += data;
  whole += page.substr(place + kPlace.size());
  return whole;
}

}  // namespace sluice::bench
