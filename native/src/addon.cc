// SPDX-License-Identifier: MIT
#include <bpf/libbpf.h>
#include <napi.h>

#include "btf.h"
#include "clsact.h"
#include "features.h"
#include "link.h"
#include "map.h"
#include "object.h"
#include "program.h"
#include "ring_buffer.h"
#include "tcx.h"

namespace
{

/** (class BpfError): so that errors thrown here are those that JavaScript catches by class. */
void SetErrorClass(const Napi::CallbackInfo &info)
{
    Environment::Of(info.Env()).error = Napi::Persistent(Arguments(info, "set error class").Callback(0, "class"));
}

Napi::Value PossibleCpus(const Napi::CallbackInfo &info)
{
    const int cpus = libbpf_num_possible_cpus();
    if (cpus < 0)
        Fail(info.Env(), cpus, "possible cpus");
    return Napi::Number::New(info.Env(), cpus);
}

Napi::Object Init(Napi::Env env, Napi::Object exports)
{
    env.SetInstanceData<Environment>(new Environment);
    exports["setErrorClass"] = Napi::Function::New<SetErrorClass>(env, "setErrorClass");
    exports["possibleCpus"] = Napi::Function::New<PossibleCpus>(env, "possibleCpus");
    Map::Init(env, exports);
    Program::Init(env, exports);
    Object::Init(env, exports);
    Link::Init(env, exports);
    RingBuffer::Init(env, exports);
    InitClsact(env, exports);
    InitTcx(env, exports);
    InitFeatures(env, exports);
    InitBtf(env, exports);
    return exports;
}

} // namespace

NODE_API_MODULE(libbpf, Init)
