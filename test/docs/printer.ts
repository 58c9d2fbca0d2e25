/** Loaded before a snippet: says of each `console.log` which line of the snippet it was, as a line of JSON. */
import { formatWithOptions } from "node:util";

/** Marks such lines among all that a program may write. */
const mark = "~printed~ ";

console.log = (...values: unknown[]): void => {
  const frame = new Error().stack?.split("\n").find((line) => line.includes(process.argv[1]!));
  const line = Number(/:(\d+):\d+\)?$/.exec(frame ?? "")?.[1] ?? 0);
  const text = formatWithOptions({ colors: false }, ...values);
  process.stdout.write(`${mark}${JSON.stringify([line, text])}\n`);
};
