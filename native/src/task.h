// SPDX-License-Identifier: MIT
#pragma once
#include <napi.h>

#include <functional>

#include "errors.h"

/**
 * Work for the thread pool behind a Promise. `work` runs off the JavaScript thread and returns a Failure (or an empty
 * one); `finish` makes the result on the JavaScript thread and also runs, with its result unused, after a failure.
 * Deletes itself.
 */
class Task : public Napi::AsyncWorker
{
  public:
    using Work = std::function<Failure()>;
    using Finish = std::function<Napi::Value(Napi::Env)>;

    static Napi::Promise Start(Napi::Env env, const char *name, Work work, Finish finish)
    {
        auto *task = new Task(env, name, std::move(work), std::move(finish));
        Napi::Promise promise = task->deferred_.Promise();
        task->Queue();
        return promise;
    }

  protected:
    void Execute() override
    {
        failure_ = work_();
    }
    void OnOK() override
    {
        Napi::Value result = finish_(Env());
        if (failure_)
            deferred_.Reject(ToError(Env(), failure_).Value());
        else
            deferred_.Resolve(result);
    }
    void OnError(const Napi::Error &error) override
    {
        deferred_.Reject(error.Value());
    }

  private:
    Task(Napi::Env env, const char *name, Work work, Finish finish)
        : AsyncWorker(env, name), deferred_(env), work_(std::move(work)), finish_(std::move(finish))
    {
    }

    Napi::Promise::Deferred deferred_;
    Work work_;
    Finish finish_;
    Failure failure_;
};
