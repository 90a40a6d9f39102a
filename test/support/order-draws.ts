import fc from 'fast-check';

/** What may decide where a claim or run stands, as random tests draw it: tenants and branches, and batches that few
 * claims share. */
export const orderFields = {
  labels: fc.constantFrom<Readonly<Record<string, string>>>(
    {},
    { branch: 'main' },
    { tenant: 'a' },
    { tenant: 'b', branch: 'main' },
    { tenant: 'c', branch: 'fix' },
  ),
  batch: fc.constantFrom(undefined, undefined, undefined, 'event 1', 'event 2'),
};

/** Settings of the order of a line. */
export const orderSettings: readonly object[] = [
  { priority_head_start_ms: 5000 },
  { priority_head_start_ms: null },
  { rotate_by: 'tenant' },
  { rotate_by: null },
  { retry_place: 'last' },
  { retry_place: 'kept' },
];
