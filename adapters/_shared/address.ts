/** `HOST:PORT` as people write it on command lines and in lists of workers. */
import { invalid } from "../../src/errors.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `0.0.0.0:9090`, `worker-1:9090`, `[::1]:9090`, `:9090` (all interfaces). Throws `InvalidArgument`, naming `field`. */
export function parseAddress(field: string, text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]:/@\s]*)):(\d{1,5})$/.exec(text);
  if (!match) throw invalid(field, `"${text}" is not HOST:PORT`);
  const port = Number(match[3]);
  if (port > 65_535) throw invalid(field, `port ${port} is above 65535`);
  return { host: match[1] ?? (match[2] || "0.0.0.0"), port };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
