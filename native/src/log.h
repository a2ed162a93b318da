// SPDX-License-Identifier: MIT
#pragma once
#include <string>

/**
 * Gathers what libbpf says on this thread while it lives (the verifier's log among it); what is said outside of one is
 * dropped, never printed. libbpf's print function is process-wide, but it calls on the thread that does the work.
 */
class LogCapture
{
  public:
    LogCapture();
    ~LogCapture();
    LogCapture(const LogCapture &) = delete;
    LogCapture &operator=(const LogCapture &) = delete;

    const std::string &text() const
    {
        return text_;
    }

  private:
    std::string text_;
    std::string *outer_;
};
