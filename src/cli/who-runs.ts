import { hostname, userInfo } from 'node:os';

/** Who a change is recorded as made by, if nobody else is named: user@host. */
export function whoRuns(): string {
  let user = 'unknown';
  try {
    user = userInfo().username;
  } catch {
    // A uid without an account, as in a container.
  }
  return `${user}@${hostname()}`.slice(0, 200);
}
