import { z } from 'zod';
import { ClaimId, QueueName } from './ids.ts';

/** What the feed tells of. A claim's name begins its own story; a lease's, that of its grant. */
export const EventType = z.enum([
  'claim.queued',
  'claim.cancelled',
  'claim.expired',
  'claim.broken',
  'claim.superseded',
  'claim.delayed',
  'claim.dropped',
  'claim.dead',
  'claim.redriven',
  'claim.purged',
  'claim.skipped',
  'lease.granted',
  'lease.released',
  'lease.release_requested',
  'lease.cancelled',
  'lease.renewed_late',
  'lease.expired',
  'lease.broken',
  'lease.superseded',
  'lease.returned',
  'offer.lapsed',
  'slot.dirty',
  'slot.cleaned',
  'queue.changed',
  'queue.deleted',
  'queue.blocked',
  'queue.unblocked',
  'queue.recovered',
  'pattern.changed',
  'pattern.deleted',
  'webhook.changed',
  'webhook.deleted',
  'webhook.disabled',
  'webhook.tested',
  'merge_request.registered',
  'merge_request.updated',
  'merge_request.acquired',
  'merge_request.succeeded',
  'merge_request.failed',
  'merge_request.cancelled',
  'merge_request.expired',
  'merge_request.completed',
  'merge_request.evicted',
  'merge_request.cleared',
  'merge_request.broken',
  'merge_queue.opened',
  'merge_queue.changed',
  'merge_queue.deleted',
  'term.started',
  'term.ended',
  'token.created',
  'token.revoked',
  'database.failover',
  'database.failover_accepted',
]);

export type EventType = z.infer<typeof EventType>;

export const Event = z.looseObject({
  id: z.string().meta({ description: 'Opaque; goes into `after` to read on behind this event.' }),
  type: EventType,
  queue: QueueName.nullable(),
  claim_id: ClaimId.nullable(),
  at: z.string().meta({ format: 'date-time', description: "By the database's clock." }),
});
export type Event = z.infer<typeof Event>;

/** In `after`: behind all that is there now. */
export const newestEventId = 'newest';

export const EventPage = z.object({
  events: z.array(Event),
  next_after: z.string().meta({ description: 'Goes into `after` to read on, also when the page is empty.' }),
});
export type EventPage = z.infer<typeof EventPage>;

export interface EventsRequest {
  /** The id of the last event seen, or `newestEventId`; undefined = from the oldest kept. */
  readonly after: string | undefined;
  readonly queue: QueueName | undefined;
  /** '' = of all queues. */
  readonly prefix: string;
  /** Only events of claims that have all of these; undefined = of all. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly limit: number;
  readonly waitMs: number;
}
