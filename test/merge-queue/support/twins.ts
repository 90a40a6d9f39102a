import type { Answer } from '../../../src/merge-queue/machine/calls.ts';
import type { KnownRequest, MergeQueueSettings, MergeRefusal } from '../../../src/protocol/merge-queue.ts';
import { MachineUnderTest, refOf } from './machine-under-test.ts';
import { type ReferenceAnswer, type ReferenceContext, ReferenceModel } from './reference-model.ts';

/** What the original calls each refusal. */
const textOf: Partial<Record<MergeRefusal, string>> = {
  lease_taken: 'lease already acquired',
  nothing_held: 'no lease acquired',
  not_the_holder: 'commit SHA does not hold the lease',
};

/** The order of equals is fixed in neither, so lists are compared as sets. */
function sorted<Value>(values: readonly Value[]): Value[] {
  return values.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

function theirs({ request, stacked_pull_requests: stack }: ReferenceContext): object {
  const { head_sha: headSha, head_ref: headRef, priority, status } = request;
  return { headSha, headRef, priority, status, stack: stack === undefined ? null : sorted(stack.map((p) => p.number)) };
}

function ours({ request, stackedPullRequests: stack }: KnownRequest): object {
  return { ...request, stack: stack === null ? null : sorted(stack) };
}

function toldByThem(answer: ReferenceAnswer): object {
  return answer.code === 200 ? theirs(answer) : { refused: answer.code, because: answer.error_context };
}

function toldByUs(answer: Answer, refusedWith: 400 | 409, call: { outcome?: string }): object {
  if (answer.kind === 'request') return ours(answer);
  if (answer.kind === 'done') return {};
  const { refusal, hasStatus } = answer;
  const because =
    textOf[refusal] ??
    (refusal === 'status_mismatch'
      ? `status missmatch for commit SHA; expected: ${hasStatus}`
      : refusal === 'not_registered'
        ? `invalid status ${call.outcome} for new LeaseRequest`
        : refusal);
  return { refused: refusedWith, because };
}

export interface Told {
  readonly theirs: object;
  readonly ours: object;
}

/** The original's model and our machine side by side: each call is put to both, at the same time of the same clock. */
export class Twins {
  readonly queue: MachineUnderTest;
  readonly reference: ReferenceModel;

  constructor(settings: Partial<MergeQueueSettings>) {
    this.queue = new MachineUnderTest(settings);
    const { stabilisation_ms: windowMs, ttl_ms: ttlMs, expected_count, delay_count } = this.queue.settings;
    this.reference = new ReferenceModel(
      { windowMs, ttlMs, expectedCount: expected_count, delayCount: delay_count },
      this.queue.nowMs,
    );
  }

  pass(ms: number): void {
    this.queue.pass(ms);
  }

  acquire(headSha: string, priority: number, headRef = refOf(priority)): Told {
    return {
      theirs: toldByThem(this.reference.acquire({ headSha, headRef, priority }, this.queue.nowMs)),
      ours: toldByUs(this.queue.ask(headSha, { headRef, priority }), 409, {}),
    };
  }

  release(headSha: string, status: 'success' | 'failure', priority: number, headRef = refOf(priority)): Told {
    return {
      theirs: toldByThem(this.reference.release({ headSha, headRef, priority, status }, this.queue.nowMs)),
      ours: toldByUs(this.queue.releaseAs(headSha, status, { headRef, priority }), 400, { outcome: status }),
    };
  }

  clear(): void {
    this.reference.clear(this.queue.nowMs);
    this.queue.clear();
  }

  show(): Told {
    const reference = this.reference.show();
    const queue = this.queue.show();
    return {
      theirs: {
        lastUpdatedAtMs: reference.last_updated_at_ms,
        acquired: reference.acquired === null ? null : theirs(reference.acquired),
        known: sorted(reference.known.map(theirs)),
      },
      ours: {
        lastUpdatedAtMs: queue.lastUpdatedAtMs,
        acquired: queue.acquired === null ? null : ours(queue.acquired),
        known: sorted(queue.known.map(ours)),
      },
    };
  }
}
