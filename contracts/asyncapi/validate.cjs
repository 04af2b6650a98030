// Reads {name: AsyncAPI document} from standard input; writes {name: [{severity, code, path, message}]}; severity 0 is an error.
"use strict";
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

async function main() {
  const parser = new Parser();
  const documents = Object.entries(JSON.parse(readFileSync(0, "utf8")));
  const told = {};
  for (const [name, document] of documents) {
    const diagnostics = await parser.validate(JSON.stringify(document));
    told[name] = diagnostics.map(({ severity, code, path, message }) => ({ severity, code, path: path.join("/"), message }));
  }
  process.stdout.write(JSON.stringify(told));
}

main();
