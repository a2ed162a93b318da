// SPDX-License-Identifier: MIT
#pragma once
#include "wrapped.h"

/** A BPF link: an attachment with an owner. */
class Link : public Wrapped<Link>
{
  public:
    static const napi_type_tag kTag;
    static constexpr const char *kWhat = "BPF link";
    static Napi::FunctionReference &Constructor(Napi::Env env)
    {
        return Environment::Of(env).link;
    }
    static void Init(Napi::Env env, Napi::Object exports);

    using Wrapped<Link>::Wrapped;
    static Napi::Object Create(Napi::Env env, Descriptor fd, const std::string &operation);

  private:
    Napi::Value Info(const Napi::CallbackInfo &info);
    void Update(const Napi::CallbackInfo &info);
    void Pin(const Napi::CallbackInfo &info);
    void Detach(const Napi::CallbackInfo &info);
};
