// What an entry of a list of targets holds, as far as it can be told at synth. The proxy reads the lists by the same rules
// (rust/tailnet/src/target_list.rs), and refuses at its start what these let pass.
import * as net from 'net';

/** Every name without a dot. */
const LOCAL = '<local>';

interface Entry {
  readonly host: string;
  readonly from: number;
  readonly to: number;
}

interface Network {
  readonly address: string;
  readonly bits: number;
  readonly family: 'ipv4' | 'ipv6';
}

/**
 * Whether all that an entry holds is held by another.
 * @internal
 */
export function isWithin(entry: string, other: string): boolean {
  const [inner, outer] = [read(entry), read(other)];
  return outer.from <= inner.from && inner.to <= outer.to && hostIsWithin(inner.host, outer.host);
}

function read(entry: string): Entry {
  const [, bracketed, rest] = /^\[(.*)\](.*)$/.exec(entry) ?? [];
  // More than one colon is IPv6 without a port.
  const [, host, ports] = bracketed ? ['', bracketed, rest.slice(1)] : /^([^:]*):([^:]*)$/.exec(entry) ?? ['', entry, ''];
  const [from, to = from] = ports.split('-').map(Number);
  return { host: host.toLowerCase().replace(/\.$/, ''), ...ports ? { from, to } : { from: 1, to: 65_535 } };
}

function hostIsWithin(inner: string, outer: string): boolean {
  const [innerNetwork, outerNetwork] = [networkOf(inner), networkOf(outer)];
  if (innerNetwork && outerNetwork) {
    const list = new net.BlockList();
    list.addSubnet(outerNetwork.address, outerNetwork.bits, outerNetwork.family);
    return innerNetwork.bits >= outerNetwork.bits && list.check(innerNetwork.address, innerNetwork.family);
  }
  if (outer.startsWith('*.')) {
    return inner.endsWith(outer.slice(1));
  }
  return inner === outer || outer === LOCAL && !innerNetwork && !inner.includes('.') && inner !== 'localhost';
}

function networkOf(host: string): Network | undefined {
  const [address, bits] = host.split('/');
  const family = ({ 4: 'ipv4', 6: 'ipv6' } as const)[net.isIP(address)];
  const most = family === 'ipv4' ? 32 : 128;
  const length = Number(bits ?? most);
  return family && Number.isInteger(length) && length <= most ? { address, bits: length, family } : undefined;
}
