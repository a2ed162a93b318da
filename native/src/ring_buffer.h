// SPDX-License-Identifier: MIT
#pragma once
#include <napi.h>

#include <memory>

#include "ring_reader.h"

/** Calls a function for every record of a ring buffer, without keeping the process alive. */
class RingBuffer : public Napi::ObjectWrap<RingBuffer>
{
  public:
    static void Init(Napi::Env env, Napi::Object exports);
    explicit RingBuffer(const Napi::CallbackInfo &info);
    ~RingBuffer() override;

    /** Shared with the thread-safe function, which may die first (with its environment) or last. */
    struct State;

  private:
    void Close(const Napi::CallbackInfo &info);

    std::shared_ptr<State> state_;
};
