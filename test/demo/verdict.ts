import { findViolations, type Grant } from '../support/admission-history.ts';

export interface Evidence {
  readonly limit: number;
  /** From history, by the database's clock. */
  readonly grants: readonly Grant[];
  /** The guarded file, line by line. */
  readonly file: readonly string[];
  readonly clients: readonly string[];
  /** Killed while it held, so it never ends. */
  readonly killed: string;
  /** Stopped past its lease while it held, then let go on: its watchdog ended its job. */
  readonly stopped: string;
  /** Wrote with the token of the stopped one after its slot had gone on. */
  readonly lateWriter: string;
  /** Who told queue, position and reason while it waited. */
  readonly waited: readonly string[];
  /** From the kill of the leader to the next term, by the database's clock. */
  readonly takeoverMs: number;
  readonly takeoverMsMax: number;
}

export interface Finding {
  readonly holds: boolean;
  readonly what: string;
}

/** The findings of the demo, each from its own evidence. */
export function judge(evidence: Evidence): Finding[] {
  const { limit, grants, file, clients, killed, stopped, lateWriter, waited, takeoverMs, takeoverMsMax } = evidence;
  const history = findViolations(grants, { limit, seen: [] });
  const entries = file.map((line) => {
    const [what = '', token = '', slot = '', client = ''] = line.split(' ');
    return { what, token: Number(token), slot, client };
  });
  const overlaps = overlapsIn(entries, new Set([killed, stopped]));
  const backwards = tokensBackwards(entries);
  const served = new Set(entries.filter(({ what }) => what === 'end').map(({ client }) => client));
  const without = clients.filter((client) => client !== killed && client !== stopped && !served.has(client));
  const refusals = entries.filter(({ what }) => what === 'refused');
  return [
    finding(`never more than ${limit} holders, by the database's history of ${grants.length} grants`, history),
    finding(`never more than ${limit} at work, one per slot, by the file of ${file.length} entries`, overlaps),
    finding('tokens in the file only grew, in every slot', backwards),
    finding(`every client got its turn and ended its job (${killed}, killed, and ${stopped}, stopped, aside)`, without),
    { holds: waited.length > 0, what: `${waited.length} clients stood in line and told their position and the reason` },
    {
      holds: refusals.length === 1 && refusals[0]?.client === lateWriter,
      what: 'the file refused the late write with an old token, and no job wrote late',
    },
    {
      holds: takeoverMs <= takeoverMsMax,
      what: `a new leader took over after ${Math.round(takeoverMs)} ms (lease + 1 s = ${takeoverMsMax} ms)`,
    },
  ];
}

interface Entry {
  readonly what: string;
  readonly token: number;
  readonly slot: string;
  readonly client: string;
}

/** Who began in a slot where somebody was still at work, other than one that had lost its lease. */
function overlapsIn(entries: readonly Entry[], lost: ReadonlySet<string>): string[] {
  const atWork = new Map<string, string>();
  const overlaps: string[] = [];
  for (const { what, slot, client } of entries) {
    const other = atWork.get(slot);
    if (what === 'begin') {
      if (other !== undefined && !lost.has(other))
        overlaps.push(`${client} began in slot ${slot} while ${other} was there`);
      atWork.set(slot, client);
    } else if (what !== 'refused' && other === client) atWork.delete(slot);
  }
  return overlaps;
}

function tokensBackwards(entries: readonly Entry[]): string[] {
  const newest = new Map<string, number>();
  const backwards: string[] = [];
  for (const { what, token, slot } of entries) {
    if (what !== 'begin') continue;
    if (token <= (newest.get(slot) ?? 0)) backwards.push(`slot ${slot}: ${token} after ${newest.get(slot) ?? 0}`);
    newest.set(slot, token);
  }
  return backwards;
}

function finding(what: string, violations: readonly string[]): Finding {
  return { holds: violations.length === 0, what: violations.length === 0 ? what : `${what}: ${violations.join('; ')}` };
}
