// SPDX-License-Identifier: MIT
#pragma once
#include "map_shape.h"
#include "wrapped.h"

/** One BPF map. */
class Map : public Wrapped<Map>
{
  public:
    static const napi_type_tag kTag;
    static constexpr const char *kWhat = "BPF map";
    static Napi::FunctionReference &Constructor(Napi::Env env)
    {
        return Environment::Of(env).map;
    }
    static void Init(Napi::Env env, Napi::Object exports);

    explicit Map(const Napi::CallbackInfo &info);
    /** Reads the shape first; throws when that fails. */
    static Napi::Object Create(Napi::Env env, Descriptor fd, const std::string &operation);

    const MapShape &shape() const
    {
        return shape_;
    }

  private:
    Napi::Value Info(const Napi::CallbackInfo &info);
    Napi::Value Memory(const Napi::CallbackInfo &info);
    Napi::Value Lookup(const Napi::CallbackInfo &info);
    void Update(const Napi::CallbackInfo &info);
    Napi::Value Remove(const Napi::CallbackInfo &info);
    void Push(const Napi::CallbackInfo &info);
    Napi::Value Pop(const Napi::CallbackInfo &info);
    Napi::Value Dump(const Napi::CallbackInfo &info);
    void UpdateBatch(const Napi::CallbackInfo &info);
    Napi::Value RemoveBatch(const Napi::CallbackInfo &info);
    void Pin(const Napi::CallbackInfo &info);

    MapShape shape_;
};
