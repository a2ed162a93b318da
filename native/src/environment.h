// SPDX-License-Identifier: MIT
// What one JavaScript environment (the main thread or a worker) owns. Nothing here is process-wide.
#pragma once
#include <napi.h>

struct Environment {
    Napi::FunctionReference error; // class BpfError, handed over by the TypeScript side
    Napi::FunctionReference map;
    Napi::FunctionReference program;
    Napi::FunctionReference link;

    static Environment &Of(Napi::Env env)
    {
        return *env.GetInstanceData<Environment>();
    }
};
