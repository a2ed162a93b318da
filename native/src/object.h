// SPDX-License-Identifier: MIT
#pragma once
#include <bpf/libbpf.h>
#include <napi.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "errors.h"

/** Shared with the thread that loads, so that neither garbage collection nor a dying worker pulls it away. */
struct ObjectState {
    enum Stage { kOpened, kLoading, kLoaded, kFailed };

    bpf_object *object = nullptr;
    std::string name;
    Stage stage = kOpened; // JavaScript thread only
    /** By program: what the verifier says of it, where that was asked for. */
    std::map<std::string, std::vector<char>> statistics;
    bool refused = false; // written by the load, read when it is over

    ~ObjectState()
    {
        bpf_object__close(object);
    }
};

/** An ELF object: what it declares, then what the kernel made of it. */
class Object : public Napi::ObjectWrap<Object>
{
  public:
    static void Init(Napi::Env env, Napi::Object exports);
    explicit Object(const Napi::CallbackInfo &info);

  private:
    Napi::Value Maps(const Napi::CallbackInfo &info);
    Napi::Value Programs(const Napi::CallbackInfo &info);
    Napi::Value GetData(const Napi::CallbackInfo &info);
    void SetData(const Napi::CallbackInfo &info);
    void SetMaxEntries(const Napi::CallbackInfo &info);
    void SetAutoload(const Napi::CallbackInfo &info);
    void KeepStatistics(const Napi::CallbackInfo &info);
    Napi::Value Statistics(const Napi::CallbackInfo &info);
    void ReuseMap(const Napi::CallbackInfo &info);
    Napi::Value Load(const Napi::CallbackInfo &info);
    Napi::Value TakeMap(const Napi::CallbackInfo &info);
    Napi::Value TakeProgram(const Napi::CallbackInfo &info);
    void Close(const Napi::CallbackInfo &info);

    /** Throws when closed, or (EBUSY) while loading. */
    ObjectState &State(Napi::Env env, const char *operation) const;
    /** The same, and throws EINVAL once a load was tried. */
    ObjectState &Unloaded(Napi::Env env, const char *operation) const;
    ObjectState &Loaded(Napi::Env env, const char *operation) const;
    bpf_map *FindMap(const Arguments &arguments, Napi::Env env, const char *operation) const;
    bpf_program *FindProgram(const Arguments &arguments, Napi::Env env, const char *operation) const;

    std::shared_ptr<ObjectState> state_;
};

/** A map's name as its section where libbpf made it up (".rodata"), else as declared. */
std::string DeclaredName(const bpf_map *map);
