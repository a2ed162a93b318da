// SPDX-License-Identifier: MIT
#pragma once
#include <csignal>

/**
 * No signal reaches this thread while it lives; those for the process go to its other threads. The kernel ends a test
 * run (EINTR, some of it done) or a verification (EAGAIN) for a signal that merely waits.
 */
class SignalBlock
{
  public:
    SignalBlock()
    {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalBlock()
    {
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    SignalBlock(const SignalBlock &) = delete;
    SignalBlock &operator=(const SignalBlock &) = delete;

  private:
    sigset_t before_;
};
