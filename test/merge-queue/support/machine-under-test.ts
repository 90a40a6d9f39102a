import { providerView } from '../../../src/merge-queue/provider-view.ts';
import { changeOf, stateOf } from '../../../src/merge-queue/stored-state.ts';
import type { AcquireCall, Answer, Call, Step } from '../../../src/merge-queue/machine/calls.ts';
import type { MergeQueueEvent } from '../../../src/merge-queue/machine/events.ts';
import { dueAtMs } from '../../../src/merge-queue/machine/settle.ts';
import { type MergeQueueState, emptyState } from '../../../src/merge-queue/machine/state.ts';
import { step } from '../../../src/merge-queue/machine/step.ts';
import {
  type MergeQueueId,
  type MergeQueueSettings,
  type ProviderView,
  type ReportedOutcome,
  mergeQueueId,
} from '../../../src/protocol/merge-queue.ts';

const startMs = 1_700_000_000_000;

export const compatibleSettings: MergeQueueSettings = {
  stabilisation_ms: 30_000,
  ttl_ms: 200_000,
  expected_count: 4,
  delay_count: 0,
  hold_ttl_ms: null,
  success_completes: 'all',
  require_token: false,
  refused_acquire_updates: true,
};

function idOf(...parts: Parameters<typeof mergeQueueId>): MergeQueueId {
  const id = mergeQueueId(...parts);
  if (id === undefined) throw new Error('these can name no merge queue');
  return id;
}

export const someMergeQueue = idOf('acme', 'shop', 'main');

/** The ref GitHub would give the build of this pull request. */
export function refOf(number: number): string {
  return `gh-readonly-queue/main/pr-${number}-abc${number}`;
}

export function deepFrozen<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFrozen);
  }
  return value;
}

/** What came out of storing a state and reading it again. */
export function throughStorage(state: MergeQueueState, settings: MergeQueueSettings): MergeQueueState {
  const { window_started_at_ms, requests } = changeOf(someMergeQueue, state, settings, state.grant?.fencingToken ?? 0);
  const queue = { version: 1, auto_created: false, window_started_at_ms, fencing_token: 0, settings };
  return stateOf({ nowMs: 0, nextToken: 1, queue, requests, failoverAtMs: null });
}

/** How an answer reads in a test: the status, or why it was refused. */
export function wordOf(answer: Answer): string {
  if (answer.kind === 'request') return answer.request.status;
  return answer.kind === 'refused' ? answer.refusal : 'done';
}

type Asked = Partial<Omit<AcquireCall, 'verb' | 'headSha'>>;

/** One merge queue whose calls come one after another, with a clock of its own. Every input of the machine is frozen. */
export class MachineUnderTest {
  settings: MergeQueueSettings;
  state: MergeQueueState;
  nowMs = startMs;
  newestToken = 0;
  last: Step | undefined;
  /** Of all calls, in order. */
  readonly events: MergeQueueEvent[] = [];
  readonly #asked = new Map<string, Pick<AcquireCall, 'headRef' | 'priority'>>();

  constructor(settings: Partial<MergeQueueSettings> = {}) {
    this.settings = deepFrozen({ ...compatibleSettings, ...settings });
    this.state = deepFrozen(emptyState(this.nowMs));
  }

  pass(ms: number): void {
    this.nowMs += ms;
  }

  step(call: Call): Step {
    const moment = { settings: this.settings, nowMs: this.nowMs, nextToken: this.newestToken + 1 };
    const taken = step(this.state, deepFrozen(call), deepFrozen(moment));
    this.last = deepFrozen(taken);
    this.state = taken.state;
    this.newestToken = Math.max(this.newestToken, taken.state.grant?.fencingToken ?? 0);
    this.events.push(...taken.events);
    return taken;
  }

  put(call: Call): Answer {
    return this.step(call).answer;
  }

  /** What is not said is as that build said it the last time; first its priority is 1 and its ref that of pull request 1. */
  ask(headSha: string, asked: Asked = {}): Answer {
    const priority = asked.priority ?? this.#asked.get(headSha)?.priority ?? 1;
    const headRef = asked.headRef ?? this.#asked.get(headSha)?.headRef ?? refOf(priority);
    this.#asked.set(headSha, { priority, headRef });
    const { requestId = null, holdTtlMs = null, fencingToken = null } = asked;
    return this.put({ verb: 'acquire', headSha, headRef, priority, requestId, holdTtlMs, fencingToken });
  }

  acquire(headSha: string, asked: Asked = {}): string {
    return wordOf(this.ask(headSha, asked));
  }

  releaseAs(
    headSha: string,
    outcome: ReportedOutcome,
    { fencingToken = null, ...said }: { fencingToken?: number | null; priority?: number; headRef?: string } = {},
  ): Answer {
    const { priority, headRef } = { priority: 1, headRef: refOf(1), ...this.#asked.get(headSha), ...said };
    return this.put({ verb: 'release', headSha, headRef, priority, outcome, fencingToken });
  }

  release(...call: Parameters<MachineUnderTest['releaseAs']>): string {
    return wordOf(this.releaseAs(...call));
  }

  renew(headSha: string, fencingToken: number): string {
    return wordOf(this.put({ verb: 'renew', headSha, fencingToken }));
  }

  clear(): void {
    this.put({ verb: 'clear' });
  }

  tick(): void {
    this.put({ verb: 'tick' });
  }

  get dueAtMs(): number | null {
    return dueAtMs(this.state, this.settings);
  }

  get windowAgeMs(): number {
    return this.nowMs - this.state.windowStartedAtMs;
  }

  show(): ProviderView {
    return providerView(someMergeQueue, this.state, this.settings);
  }

  /** The head shas in `known`, ascending by priority. */
  get known(): string[] {
    return this.show().known.map(({ request }) => request.headSha);
  }

  /** The pull requests the holder is shown with; undefined if nobody holds. */
  get stack(): readonly number[] | undefined {
    return this.show().acquired?.stackedPullRequests ?? undefined;
  }
}
