export { PostgresSaver, type PostgresSaverOptions } from "./saver.ts";
