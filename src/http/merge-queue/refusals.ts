import type { ErrorCode } from '../../protocol/errors.ts';
import type { MergeAnswer, MergeRefusal } from '../../protocol/merge-queue.ts';

/** An error as mq-lease-service writes it. `code` only where it has no such answer. */
export interface WireError {
  readonly error: string;
  readonly error_context?: unknown;
  readonly code?: ErrorCode;
}

export type MergeVerb = 'acquire' | 'release' | 'renew';
type Refused = Extract<MergeAnswer, { kind: 'refused' }>;

/** What the call said, as far as a refusal repeats it. `status`: what it wanted its build to be. */
interface About {
  readonly headSha: string;
  readonly status: string;
  readonly reason: string | null;
}

export const unknownProvider: WireError = { error: 'unknown provider' };

const headings: Readonly<Record<MergeVerb, string>> = {
  acquire: "Couldn't acquire the lock",
  release: "Couldn't release the lock",
  renew: "Couldn't renew the lease",
};

const isOver = ({ reason }: About) => (reason === null ? 'the lease is over' : `the lease is over: ${reason}`);

/** Every refusal, with its status by verb and the original's words where it has some, spelling included. */
const refusals: Readonly<
  Record<
    MergeRefusal,
    Readonly<Record<MergeVerb, number>> & {
      readonly context: (about: About) => string;
      readonly code?: ErrorCode;
    }
  >
> = {
  lease_taken: { acquire: 409, release: 400, renew: 409, context: () => 'lease already acquired' },
  status_mismatch: {
    acquire: 409,
    release: 400,
    renew: 409,
    context: ({ headSha, status }) =>
      `status missmatch for commit ${headSha}; expected: \`success|failure\`, got: \`${status}\``,
  },
  nothing_held: { acquire: 409, release: 400, renew: 409, context: () => 'no lease acquired' },
  not_the_holder: {
    acquire: 409,
    release: 400,
    renew: 409,
    context: ({ headSha }) => `commit ${headSha} does not hold the lease`,
  },
  not_registered: {
    acquire: 409,
    release: 400,
    renew: 409,
    context: ({ headSha, status }) => `invalid status ${status} for new LeaseRequest with HeadSHA ${headSha}`,
  },
  token_mismatch: { acquire: 409, release: 400, renew: 409, context: () => 'fencing token missmatch' },
  token_required: { acquire: 409, release: 400, renew: 409, context: () => 'fencing token required' },
  lease_lost: { acquire: 409, release: 400, renew: 410, context: isOver, code: 'lease_lost' },
  ended_otherwise: { acquire: 409, release: 400, renew: 410, context: isOver },
  queue_full: {
    acquire: 429,
    release: 400,
    renew: 409,
    context: () => 'too many builds wait in this merge queue',
    code: 'queue_full',
  },
};

/** How a refused call is answered. */
export function refusalOf(
  verb: MergeVerb,
  { refusal, reason }: Refused,
  { headSha, status }: Pick<About, 'headSha' | 'status'>,
): { readonly status: number; readonly body: WireError } {
  const { context, code, ...statuses } = refusals[refusal];
  return {
    status: statuses[verb],
    body: {
      error: headings[verb],
      error_context: context({ headSha, status, reason }),
      ...(code === undefined ? {} : { code }),
    },
  };
}
