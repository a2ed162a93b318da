/** `config show`, `config docs`: what is set, and by whom. */
import { configurationMarkdown } from "../config/docs.js";
import { fileKey, row, SETTING_KEYS } from "../config/schema.js";
import { EXIT, type Command } from "./command.js";
import { columns, json } from "./output.js";

export const configShow: Command = {
  name: "config show",
  summary: "Print every setting, its value and where that came from.",
  arguments: [],
  flags: [],
  settings: "all",
  examples: ["torbie config show", "torbie config show --config ./torbie.yaml --json"],
  run: ({ context, json: asJson, config }) => {
    const { config: values, sources, file } = config();
    const rows = SETTING_KEYS.map((key) => ({
      key,
      value: values[key],
      text: row(key).kind.format(values[key]),
      source: sources[key],
    }));
    if (asJson)
      context.out(
        json({
          file: file ?? null,
          settings: Object.fromEntries(
            rows.map(({ key, value, source }) => [
              fileKey(key),
              { value, from: source.from, where: source.where || null },
            ]),
          ),
        }),
      );
    else
      context.out(
        columns(
          ["SETTING", "VALUE", "FROM"],
          rows.map(({ key, text, source }) => [fileKey(key), text, source.where || source.from]),
        ),
      );
    return Promise.resolve(EXIT.ok);
  },
};

export const configDocs: Command = {
  name: "config docs",
  summary: "Print docs/configuration.md from the table of settings.",
  arguments: [],
  flags: [],
  settings: [],
  examples: ["torbie config docs > docs/configuration.md"],
  run: ({ context, json: asJson }) => {
    const text = configurationMarkdown();
    context.out(asJson ? json({ markdown: text }) : text);
    return Promise.resolve(EXIT.ok);
  },
};
