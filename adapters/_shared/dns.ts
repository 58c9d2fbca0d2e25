/** Addresses of workers by name: what a Kubernetes Service, or any DNS entry with several addresses, stands for. */
import { lookup, resolveSrv } from "node:dns/promises";
import { AgentmaticError, invalid } from "../../src/errors.ts";
import { formatAddress, parseAddress } from "./address.ts";

/** More than this is a mistake in the zone; the first ones are taken. */
const addressesMax = 1000;

/**
 * `name:port` gives each of its A and AAAA addresses with the port; a name without a port gives the targets and ports
 * of its SRV records that come first by priority. Sorted, so that two look-ups can be compared. Throws `Unavailable`.
 */
export async function resolve(name: string): Promise<string[]> {
  if (name === "") throw invalid("name", "is empty");
  const found = /:\d+$/.test(name) ? await hosts(name) : await services(name);
  return [...new Set(found)].sort().slice(0, addressesMax);
}

async function hosts(name: string): Promise<string[]> {
  const { host, port } = parseAddress("name", name);
  // The system's resolver and not DNS alone: it knows /etc/hosts and the search list of a pod.
  const entries = await asked(host, () => lookup(host, { all: true }));
  return entries.map(({ address }) => formatAddress({ host: address, port }));
}

async function services(name: string): Promise<string[]> {
  const records = await asked(name, () => resolveSrv(name));
  const first = Math.min(...records.map(({ priority }) => priority));
  return records
    .filter(({ priority }) => priority === first)
    .map((record) => formatAddress({ host: record.name, port: record.port }));
}

async function asked<T>(name: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (thrown) {
    const { code = "unknown error" } = thrown as NodeJS.ErrnoException;
    throw new AgentmaticError("Unavailable", `cannot look up "${name}": ${code}`, { cause: thrown });
  }
}
