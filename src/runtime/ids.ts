import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

/**
 * `host:pid:8hex`, the form of every identity this program makes for itself. It is computed once per process (after any
 * fork) and then passed around; two processes on one host, and one process restarted under the same pid, never share it.
 */
export function processIdentity(): string {
  const host =
    hostname()
      .replace(/[^A-Za-z0-9._-]/g, '-')
      .slice(0, 100) || 'host';
  return `${host}:${process.pid}:${randomBytes(4).toString('hex')}`;
}
