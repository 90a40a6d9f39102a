import { asked } from './annotations.ts';
import type { PipelineRun } from './pipeline-run.ts';

/** What a run asks of the gate. */
export interface Demand {
  readonly queue: string;
  readonly priority: number;
  readonly ttlMs: number;
  readonly onLeaseLost: 'keep' | 'cancel';
}

export type DemandReading =
  | { readonly kind: 'none' }
  | { readonly kind: 'unusable'; readonly problem: string }
  | { readonly kind: 'demand'; readonly demand: Demand };

export interface DemandRules {
  /** In front of every queue's name; `{namespace}` stands for the run's. */
  readonly queuePrefix: string;
  /** Of leases whose run names none. */
  readonly ttlMs: number;
}

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const nameForm = /^[A-Za-z0-9._:/@-]{1,200}$/;

/** Reads the annotations of a user. All that is wrong is told at once; what is unusable is never guessed. */
export function readDemand(run: PipelineRun, rules: DemandRules): DemandReading {
  const name = run.annotations[asked.queue];
  if (name === undefined) return { kind: 'none' };
  const problems: string[] = [];
  const queue = rules.queuePrefix.replaceAll('{namespace}', run.namespace) + name;
  if (name === '' || !nameForm.test(queue) || /^\.+$/.test(queue))
    problems.push(`${asked.queue}: a queue is 1 to 200 characters of A-Z a-z 0-9 . _ : / @ -`);
  const priority = readPriority(run.annotations[asked.priority], problems);
  const ttlMs = readTtl(run.annotations[asked.ttl], rules.ttlMs, problems);
  const onLeaseLost = run.annotations[asked.onLeaseLost] ?? 'keep';
  if (onLeaseLost !== 'keep' && onLeaseLost !== 'cancel') {
    problems.push(`${asked.onLeaseLost}: keep or cancel`);
    return { kind: 'unusable', problem: problems.join('; ') };
  }
  if (problems.length > 0) return { kind: 'unusable', problem: problems.join('; ') };
  return { kind: 'demand', demand: { queue, priority, ttlMs, onLeaseLost } };
}

function readPriority(text: string | undefined, problems: string[]): number {
  if (text === undefined) return 0;
  if (/^-?\d{1,7}$/.test(text) && Math.abs(Number(text)) < topPriority) return Number(text);
  problems.push(`${asked.priority}: a whole number above -${topPriority} and below ${topPriority}`);
  return 0;
}

function readTtl(text: string | undefined, usualMs: number, problems: string[]): number {
  if (text === undefined) return usualMs;
  const [, amount = '', unit = ''] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? [];
  const ms = Number(amount) * (unitsMs[unit] ?? NaN);
  if (ms >= 1000 && ms <= 86_400_000) return ms;
  problems.push(`${asked.ttl}: a duration from 1s to 24h`);
  return usualMs;
}

/** The service's highest: of runs that go without a place. No annotation reaches it. */
export const topPriority = 1_000_000;
