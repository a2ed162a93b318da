// SPDX-License-Identifier: MIT
#pragma once
#include "wrapped.h"

/** One loaded BPF program. */
class Program : public Wrapped<Program>
{
  public:
    static const napi_type_tag kTag;
    static constexpr const char *kWhat = "BPF program";
    static Napi::FunctionReference &Constructor(Napi::Env env)
    {
        return Environment::Of(env).program;
    }
    static void Init(Napi::Env env, Napi::Object exports);

    using Wrapped<Program>::Wrapped;
    static Napi::Object Create(Napi::Env env, Descriptor fd, const std::string &operation);

  private:
    Napi::Value Info(const Napi::CallbackInfo &info);
    void Pin(const Napi::CallbackInfo &info);
    Napi::Value TestRun(const Napi::CallbackInfo &info);
    Napi::Value TestRunAsync(const Napi::CallbackInfo &info);
};

/** The kernel's name of a program by its id; empty when it is gone or may not be looked at. */
std::string ProgramName(uint32_t id);
