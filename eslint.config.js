// @ts-check
import tseslint from "typescript-eslint";

/** What a pure stage must not reach for: files, sockets, processes, the kernel. */
const effects = [
  "node:fs",
  "node:fs/promises",
  "node:net",
  "node:dgram",
  "node:child_process",
  "node:worker_threads",
  "node:os",
  "node:process",
  "fs",
  "net",
  "child_process",
  "os",
  "process",
  "netlink",
  "pino",
  "#libbpf",
];

/** Folders and files that hold no effects (DESIGN.md, Layers). What one of them may not import besides, by stage. */
const pure = [
  { files: ["src/model/**/*.ts"], stages: ["../compile/*", "../dataplane/*", "../links/*", "../agent*", "../cli/*"] },
  { files: ["src/compile/**/*.ts"], stages: ["../dataplane/*", "../links/*", "../agent*", "../cli/*"] },
  {
    files: ["src/abi/**/*.ts"],
    ignores: ["src/abi/generate.ts"],
    stages: ["../dataplane/*", "../links/*", "../agent*", "../cli/*"],
  },
  {
    files: [
      "src/text.ts",
      "src/errors.ts",
      "src/problems.ts",
      "src/dataplane/backend.ts",
      "src/dataplane/guard-rules.ts",
      "src/dataplane/iptables/{names,types,tree,members,rules,policy,endpoints,filter,link-rules,render,plan}.ts",
      "src/dataplane/bpf/images*.ts",
      "src/dataplane/bpf/plan*.ts",
      "src/dataplane/bpf/diff*.ts",
      "src/dataplane/bpf/reasons.ts",
      "src/dataplane/conntrack/attributes.ts",
      "src/dataplane/conntrack/codec.ts",
      "src/dataplane/conntrack/entry.ts",
      "src/dataplane/conntrack/judge.ts",
      "src/dataplane/conntrack/concern.ts",
      "src/links/desired.ts",
      "src/links/diff.ts",
      "src/links/ours.ts",
      "src/links/gateways.ts",
      "src/links/sysctl-plan.ts",
      "src/agent/gate.ts",
      "src/agent/delta.ts",
      "src/agent/collect.ts",
      "src/agent/status-of.ts",
      "src/check/{difference,name-maps,name-links}.ts",
      "src/cli/output.ts",
      "src/cli/parse.ts",
      "src/demo/cast.ts",
      "src/demo/change.ts",
      "src/demo/describe.ts",
      "src/demo/matrix.ts",
    ],
    stages: [],
  },
];

export default tseslint.config(
  { ignores: ["dist/", "build/", "native/build/", "native/dist/", "node_modules/", "**/*.gen.ts"] },
  ...tseslint.configs.strict,
  {
    files: ["src/**/*.ts", "native/lib/**/*.ts", "test/**/*.ts", "bench/**/*.ts"],
    languageOptions: { parserOptions: { project: "./tsconfig.test.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: { arguments: false } }],
      "@typescript-eslint/only-throw-error": "error",
      "@typescript-eslint/return-await": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/no-unnecessary-type-assertion": "error",
      "@typescript-eslint/prefer-promise-reject-errors": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      // Classes with private constructors, and namespaced groups of functions, are meant.
      "@typescript-eslint/no-extraneous-class": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/no-invalid-void-type": "off",
    },
  },
  {
    files: ["src/**/*.ts", "native/lib/**/*.ts"],
    rules: {
      eqeqeq: "error",
      "no-control-regex": "error",
      // What people read goes through a command's context or the log.
      "no-console": "error",
      "prefer-const": "error",
      // A shell would read what names of endpoints and policies may hold.
      "no-restricted-syntax": [
        "error",
        { selector: "Property[key.name='shell'][value.value=true]", message: "No shell: names are hostile." },
        {
          selector: "CallExpression[callee.name=/^(exec|execSync)$/]",
          message: "No shell: execFile with an argument vector.",
        },
      ],
    },
  },
  { files: ["src/bench/**/*.ts"], rules: { "no-console": "off" } },
  ...pure.map(({ files, ignores = [], stages }) => ({
    files,
    ignores,
    rules: {
      "@typescript-eslint/no-restricted-imports": [
        "error",
        {
          paths: effects.map((name) => ({
            name,
            allowTypeImports: true,
            message: "A pure stage has no effects (DESIGN.md, Layers).",
          })),
          patterns: stages.length > 0 ? [{ group: stages, message: "A stage knows none that comes after it." }] : [],
        },
      ],
      "no-restricted-globals": ["error", "process", "setTimeout", "setInterval", "fetch"],
    },
  })),
  {
    files: ["native/lib/**/*.ts"],
    rules: {
      "no-restricted-imports": [
        "error",
        { patterns: [{ group: ["*/src/*", "../../src/**"], message: "libbpf-ts stands on its own." }] },
      ],
    },
  },
);
