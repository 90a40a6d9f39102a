import fc from 'fast-check';

/** One request, byte by byte. */
export interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: string | Buffer;
  readonly type?: string;
}

type Json = Record<string, unknown>;
/** A call that would be served, the fields it must have, and for each field what it may never be. */
interface Known {
  readonly method: string;
  readonly path: string;
  readonly body: () => Json;
  readonly required: readonly string[];
  readonly bad: Readonly<Record<string, fc.Arbitrary<unknown>>>;
  /** What makes its body an operation of a batch. */
  readonly operation?: Json;
}

/** Without the one key that makes the whole body no JSON of ours. */
const aJson = () => fc.jsonValue().filter((value) => !JSON.stringify(value).includes('__proto__'));
const wrongType = fc.oneof(fc.boolean(), fc.array(aJson(), { maxLength: 3 }));
const control = fc
  .tuple(fc.string({ maxLength: 20 }), fc.constantFrom('\0', '\n', '\r', '\t', '\u001b', '\u007f'), fc.string())
  .map((parts) => parts.join(''));
const huge = fc.constantFrom(-1, -(2 ** 31), -(2 ** 53), 2 ** 53, 2 ** 63, 1e308, -1e308, 0.5, 1e21);
const badNumber = fc.oneof(huge, wrongType, fc.string(), fc.double({ max: -0.5, noNaN: true }), fc.constant({}));
const badText = (length: number) =>
  fc.oneof(wrongType, control, fc.integer(), fc.constantFrom('', '\ud800', 'x'.repeat(length + 1), {}, null));
const badName = fc.oneof(
  badText(200),
  fc.constantFrom('.', '..', 'a b', 'ü', 'a%2Fb', '"', "';drop table signalbox.queues;--", '\u202e'),
);
const badLabels = fc.oneof(
  fc.constantFrom(
    null,
    [],
    'x',
    1,
    { '': 'x' },
    { k: 1 },
    { k: 'v'.repeat(201) },
    { ['k'.repeat(64)]: 'v' },
    { k: '\0' },
  ),
  fc.constant(Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, 'v']))),
);
const badMetadata = fc.constantFrom<unknown>(null, [], 'x', 1, { k: '\0' }, { k: '\ud800' }, { k: 'v'.repeat(8192) });
const outcome = fc.oneof(badText(10), fc.constantFrom('SUCCESS', 'dead', 'waiting'));
const badToken = fc.oneof(badNumber, fc.constant(0), fc.constant(null));
const badErrorText = fc.oneof(
  fc.boolean(),
  fc.integer(),
  fc.constantFrom<unknown>('a\0b', '\ud800', 'x'.repeat(4001), {}, null, ['x']),
);
const claim = '/v1/queues/busy/claims/held';
const ofHeld = { queue: 'busy', claim_id: 'held' };

/**
 * Calls that must be refused. They name a held and a waiting claim in queue `busy`, the held one with this token, and an
 * ended one in queue `free`.
 */
export function badCalls(token: () => number) {
  const lease = () => ({ queue: 'busy', claim_id: 'held', fencing_token: token() });
  // One that does not fit refuses the good ones before it too.
  const badLeases = fc
    .oneof(
      fc.record({ queue: badName, claim_id: fc.constant('held'), fencing_token: fc.constant(1) }),
      fc.record({ queue: fc.constant('busy'), claim_id: badName, fencing_token: fc.constant(1) }),
      fc.record({ queue: fc.constant('busy'), claim_id: fc.constant('held'), fencing_token: badToken }),
      fc.constantFrom<unknown>(null, 'held', {}, { queue: 'busy', claim_id: 'held', fencing_token: 1, also: 1 }),
    )
    .chain((bad) => fc.constantFrom<unknown>([bad], [lease(), bad], [bad, lease()], bad, []));
  const badEndings = fc
    .oneof(
      outcome.map((value) => ({ outcome: value })),
      badErrorText.map((error) => ({ error })),
      fc.oneof(badNumber, fc.nat()).map((value) => ({ outcome: 'failure', retry_after_ms: value })),
    )
    .map((bad) => [lease(), { ...lease(), ...bad }]);
  const known: readonly Known[] = [
    {
      method: 'POST',
      path: '/v1/queues/free/acquire',
      body: () => ({ holder: 'h', claim_id: 'new', priority: 1, ttl_ms: 2000, wait_ms: 0, mode: 'wait', labels: {} }),
      operation: { op: 'acquire', queue: 'free' },
      required: ['holder'],
      bad: {
        holder: badText(200),
        claim_id: badName,
        priority: fc.oneof(fc.constantFrom(1_000_001, -1_000_001, 0.5, 2 ** 53), wrongType),
        ttl_ms: badNumber,
        wait_ms: badNumber,
        mode: badText(20),
        labels: badLabels,
        metadata: badMetadata,
        also: fc.constantFrom<unknown>('other', ['a b'], [7], [{ queue: 'x', weight: 0 }], ['a', 'b', 'c', 'd']),
      },
    },
    {
      method: 'POST',
      path: `${claim}/renew`,
      body: () => ({ fencing_token: token(), ttl_ms: 2000 }),
      operation: { op: 'renew', ...ofHeld },
      required: ['fencing_token'],
      bad: { fencing_token: badToken, ttl_ms: badNumber },
    },
    {
      method: 'POST',
      path: `${claim}/release`,
      body: () => ({ fencing_token: token(), outcome: 'success' }),
      operation: { op: 'release', ...ofHeld },
      required: ['fencing_token'],
      // Goes with outcome retry only, whatever its value.
      bad: { fencing_token: badToken, outcome, error: badErrorText, retry_after_ms: fc.oneof(badNumber, fc.nat()) },
    },
    {
      method: 'POST',
      path: `${claim}/break`,
      body: () => ({ reason: 'r', actor: 'a' }),
      operation: { op: 'break', ...ofHeld },
      required: ['reason', 'actor'],
      bad: { reason: badText(1000), actor: badText(200) },
    },
    {
      method: 'PUT',
      path: '/v1/queues/busy',
      body: () => ({ concurrency_limit: 1, default_ttl_ms: 2000, paused: false }),
      required: [],
      bad: {
        concurrency_limit: fc.oneof(badNumber, fc.constant(1_000_001)),
        paused: fc.oneof(fc.integer(), fc.string(), fc.constant(null)),
        ...Object.fromEntries(
          ['default_ttl_ms', 'max_ttl_ms', 'waiting_ttl_ms', 'lock_delay_ms', 'claim_memory_ms'].map((name) => [
            name,
            fc.oneof(badNumber, fc.constantFrom(null, 604_800_001)),
          ]),
        ),
        max_waiting: badNumber,
        max_hold_ms: fc.oneof(badNumber, fc.constant(2_592_000_001)),
        inherit: fc.constantFrom<unknown>(null, 'paused', ['colour'], [1], {}),
      },
    },
    {
      method: 'PUT',
      path: '/v1/queue-patterns/busy*',
      body: () => ({ concurrency_limit: 1, paused: false }),
      required: [],
      bad: {
        concurrency_limit: fc.oneof(badNumber, fc.constant(1_000_001)),
        paused: fc.oneof(fc.integer(), fc.string(), fc.constant(null)),
        max_ttl_ms: fc.oneof(badNumber, fc.constantFrom(null, 604_800_001)),
        inherit: fc.constant(['paused']),
      },
    },
    {
      method: 'POST',
      path: '/v1/queues/free/enqueue',
      body: () => ({ claim_id: 'new', priority: 1, payload: [1], labels: {}, delay_ms: 0, max_attempts: 3 }),
      operation: { op: 'enqueue', queue: 'free' },
      required: [],
      bad: {
        claim_id: badName,
        priority: fc.oneof(fc.constantFrom(1_000_001, -1_000_001, 0.5, 2 ** 53), wrongType),
        labels: badLabels,
        delay_ms: badNumber,
        max_attempts: fc.oneof(badNumber, fc.constantFrom(0, 1001, null)),
        max_age_ms: fc.oneof(badNumber, fc.constantFrom(0, 999, null)),
        wait_ms: fc.nat(),
      },
    },
    {
      method: 'POST',
      path: '/v1/queues/free/clean',
      body: () => ({ holder: 't', max: 2, ttl_ms: 2000, wait_ms: 0 }),
      required: ['holder'],
      bad: {
        holder: badText(200),
        max: fc.oneof(badNumber, fc.constantFrom(0, 1001, null)),
        ttl_ms: badNumber,
        wait_ms: badNumber,
        request_id: badName,
      },
    },
    {
      method: 'POST',
      path: '/v1/take',
      body: () => ({ holder: 't', queue: 'free', max: 2, ttl_ms: 2000, wait_ms: 0 }),
      required: ['holder', 'queue'],
      bad: {
        holder: badText(200),
        queue: badName,
        // Beside a queue any prefix is one too many.
        prefix: fc.oneof(badName, fc.constantFrom('', 'f')),
        max: fc.oneof(badNumber, fc.constantFrom(0, 1001, null)),
        ttl_ms: badNumber,
        wait_ms: badNumber,
        request_id: badName,
      },
    },
    {
      method: 'POST',
      path: '/v1/holders/h/renew',
      body: () => ({ claims: [lease()], ttl_ms: 2000 }),
      required: [],
      bad: { claims: badLeases, ttl_ms: badNumber },
    },
    {
      method: 'POST',
      path: '/v1/holders/h/release',
      body: () => ({ claims: [lease()] }),
      required: ['claims'],
      bad: { claims: fc.oneof(badLeases, badEndings) },
    },
    ...['redrive', 'purge'].map((verb) => ({
      method: 'POST',
      path: `/v1/queues/busy/dead-letters/${verb}`,
      body: () => ({ claim_ids: ['held'], actor: 'a' }),
      required: ['claim_ids', 'actor'],
      bad: {
        claim_ids: fc.oneof(wrongType, fc.constantFrom<unknown>([], ['.'], 'held', null)),
        all: fc.boolean(),
        actor: badText(200),
      },
    })),
    ...['unblock', 'claims/waits/retry', 'claims/waits/skip'].map((verb) => ({
      method: 'POST',
      path: `/v1/queues/busy/${verb}`,
      body: () => ({ actor: 'a', reason: 'r' }),
      required: ['actor'],
      bad: { actor: badText(200), reason: badText(1000) },
    })),
    {
      method: 'POST',
      path: '/v1/failover/accept',
      body: () => ({ actor: 'a', timeline: '0000000A' }),
      required: ['actor'],
      bad: { actor: badText(200), timeline: fc.oneof(wrongType, fc.constantFrom<unknown>('', '1', '0000000a', null)) },
    },
    {
      method: 'POST',
      path: '/v1/batch',
      body: () => ({ operations: [{ op: 'get', ...ofHeld }] }),
      required: ['operations'],
      // Elements that are wrong are answered one by one; here the list is.
      bad: {
        operations: fc.oneof(
          fc.boolean(),
          fc.integer(),
          fc.string(),
          fc.constantFrom<unknown>(
            null,
            [],
            {},
            { op: 'cancel', ...ofHeld },
            Array(1001).fill({ op: 'cancel', ...ofHeld }),
          ),
        ),
        op: fc.constant('cancel'),
        atomic: fc.boolean(),
      },
    },
    {
      method: 'PUT',
      path: '/v1/merge-queues/acme/shop/main',
      body: () => ({ ttl_ms: 1000, expected_count: 2, hold_ttl_ms: null, require_token: false }),
      required: [],
      bad: {
        stabilisation_ms: badNumber,
        ttl_ms: fc.oneof(badNumber, fc.constantFrom(0, null, 604_800_001)),
        expected_count: fc.oneof(badNumber, fc.constantFrom(null, 10_001)),
        delay_count: fc.oneof(badNumber, fc.constantFrom(null, 10_001)),
        hold_ttl_ms: fc.oneof(badNumber, fc.constantFrom(0, 2_592_000_001)),
        success_completes: fc.oneof(badText(20), fc.constant('ALL')),
        require_token: fc.oneof(fc.integer(), fc.string(), fc.constant(null)),
        refused_acquire_updates: fc.oneof(fc.integer(), fc.string(), fc.constant(null)),
      },
    },
    { method: 'POST', path: `${claim}/cancel`, body: () => ({}), required: [], bad: {} },
  ];

  const aKnown = fc.constantFrom(...known);
  const asJson = (call: Known, body: unknown): Call => ({
    method: call.method,
    path: call.path,
    body: JSON.stringify(body),
  });

  /** One thing is wrong with a body that would be served otherwise. */
  const badBody: fc.Arbitrary<Call> = fc.oneof(
    aKnown
      .filter(({ bad }) => Object.keys(bad).length > 0)
      .chain((call) =>
        fc
          .constantFrom(...Object.entries(call.bad))
          .chain(([name, bad]) => bad.map((value) => asJson(call, { ...call.body(), [name]: value }))),
      ),
    aKnown
      .filter(({ required }) => required.length > 0)
      .chain((call) =>
        fc.constantFrom(...call.required).map((missing) => {
          const body = Object.entries(call.body()).filter(([name]) => name !== missing);
          return asJson(call, Object.fromEntries(body));
        }),
      ),
    fc
      .tuple(aKnown, fc.string({ maxLength: 40 }), aJson())
      .map(([call, name, value]) => asJson(call, { ...call.body(), [`no ${name}`]: value })),
    fc
      .tuple(aKnown, fc.oneof(fc.array(aJson()), fc.string(), fc.integer(), fc.boolean()))
      .map(([call, body]) => asJson(call, body)),
  );

  /** One operation of a batch in which one thing is wrong. */
  const badOperation: fc.Arbitrary<unknown> = fc.oneof(
    fc
      .constantFrom(
        ...known.flatMap((call) => (call.operation === undefined ? [] : [{ ...call, operation: call.operation }])),
      )
      .chain(({ operation, body, bad, required }) =>
        fc.oneof(
          fc
            .constantFrom(...Object.entries(bad))
            .chain(([name, values]) => values.map((value) => ({ ...operation, ...body(), [name]: value }))),
          fc
            .constantFrom('queue', 'op', ...required)
            .map((missing) =>
              Object.fromEntries(Object.entries({ ...operation, ...body() }).filter(([name]) => name !== missing)),
            ),
          badName.map((queue) => ({ ...operation, ...body(), queue })),
          fc
            .tuple(fc.string({ maxLength: 40 }), aJson())
            .map(([name, value]) => ({ ...operation, ...body(), [`no ${name}`]: value })),
        ),
      ),
    fc.oneof(fc.constantFrom('take', 'batch', 'Cancel', '__proto__', 'toString'), aJson()).map((op) => ({
      op: Array.isArray(op) ? [op] : op,
      ...ofHeld,
      fencing_token: token(),
    })),
    fc.constantFrom('get', 'cancel').chain((op) =>
      fc.oneof(
        badName.map((claim_id) => ({ op, queue: 'busy', claim_id })),
        fc.constantFrom(0, 1, null).map((wait_ms) => ({ op, ...ofHeld, wait_ms })),
      ),
    ),
    fc.oneof(fc.constantFrom<unknown>(null, [], [{}], 'cancel', 7, true), fc.array(aJson())),
  );

  /** Not one JSON object in UTF-8, or not said to be one. */
  const badBytes: fc.Arbitrary<Call> = aKnown.chain((call) => {
    const text = JSON.stringify({ ...call.body(), holder: 'h' });
    const { method, path } = call;
    return fc.oneof(
      fc.integer({ min: 1, max: text.length - 1 }).map((length) => ({ method, path, body: text.slice(0, length) })),
      fc.constantFrom('{', '}', 'nul', '{"a":1,"a":2}', '{"__proto__":{}}', '[1,]', '['.repeat(5000)).map((body) => ({
        method,
        path,
        body,
      })),
      fc.uint8Array({ minLength: 1, maxLength: 100 }).map((bytes) => ({
        method,
        path,
        body: Buffer.concat([Buffer.from([0xff]), bytes]),
      })),
      fc
        .constantFrom(
          'text/plain',
          'application/xml',
          'json',
          'application/x-www-form-urlencoded',
          'multipart/form-data',
        )
        .map((type) => ({ method, path, body: text, type })),
    );
  });

  const nameInPath = fc.oneof(
    fc.constantFrom(
      '.',
      '%2E%2E',
      '...',
      'a'.repeat(201),
      '%2F'.repeat(201),
      '%00',
      'a%0Ab',
      'a%20b',
      '%zz',
      '%ff',
      '%C3%BC',
    ),
    fc.constantFrom('%252F', '%E2%80%AE', "'", '%22', '*', '~', '%7F'),
  );
  const badPath: fc.Arbitrary<Call> = fc
    .tuple(nameInPath, fc.constantFrom('held', 'waits', 'ended'), fc.boolean())
    .chain(([bad, good, inClaim]) => {
      const queue = inClaim ? 'busy' : bad;
      const path = `/v1/queues/${queue}/claims/${inClaim ? bad : good}`;
      return fc.constantFrom<Call>(
        { method: 'GET', path },
        { method: 'POST', path: `${path}/cancel` },
        { method: 'POST', path: `${path}/renew`, body: JSON.stringify({ fencing_token: token() }) },
        { method: 'POST', path: `${path}/release`, body: JSON.stringify({ fencing_token: token() }) },
        { method: 'POST', path: `${path}/break`, body: '{"reason":"r","actor":"a"}' },
        { method: 'POST', path: `${path}/retry`, body: '{"actor":"a"}' },
        { method: 'POST', path: `${path}/skip`, body: '{"actor":"a"}' },
        { method: 'POST', path: `/v1/queues/${bad}/enqueue`, body: '{}' },
        { method: 'POST', path: `/v1/queues/${bad}/unblock`, body: '{"actor":"a"}' },
        { method: 'POST', path: `/v1/queues/${bad}/dead-letters/redrive`, body: '{"all":true,"actor":"a"}' },
        { method: 'POST', path: `/v1/queues/${bad}/acquire`, body: '{"holder":"h"}' },
        { method: 'PUT', path: `/v1/queues/${bad}`, body: '{}' },
        { method: 'DELETE', path: `/v1/queues/${bad}?force=true` },
        { method: 'GET', path: `/v1/queues/${bad}/check?fencing_token=1` },
        { method: 'PUT', path: `/v1/queue-patterns/*${bad}`, body: '{}' },
        { method: 'GET', path: `/v1/merge-queues/${bad}/shop/main` },
        { method: 'PUT', path: `/v1/merge-queues/acme/${bad}/main`, body: '{}' },
        { method: 'PUT', path: `/v1/merge-queues/acme/shop/${bad}`, body: '{}' },
        { method: 'DELETE', path: `/v1/merge-queues/acme/shop/${bad}?force=true` },
      );
    });

  const badText1 = fc.constantFrom('', '-1', '1.5', 'x', '0x10', '1e3', '%00', '9'.repeat(30), '%F0%9F%9A%82');
  const badQuery: fc.Arbitrary<Call> = fc.oneof(
    fc
      .tuple(
        fc.constantFrom(`${claim}?wait_ms=`, '/v1/queues?limit=', '/v1/queues/busy/check?fencing_token='),
        badText1,
      )
      .map(([path, value]) => ({ method: 'GET', path: path + value })),
    badText1.map((value) => ({ method: 'GET', path: `/v1/queues/busy/check?fencing_token=1&slot=${value}` })),
    fc
      .constantFrom('1', 'yes', '', 'TRUE')
      .map((value) => ({ method: 'DELETE', path: `/v1/queues/free?force=${value}` })),
    fc
      .constantFrom('a%20b', '%00', 'a'.repeat(201), '%ff', 'ü'.repeat(1), '*')
      .filter((value) => !value.includes('ü'))
      .map((value) => ({ method: 'GET', path: `/v1/queues?prefix=${value}` })),
    fc
      .constantFrom(
        '/v1/queues/busy',
        claim,
        '/v1/queues',
        '/v1/orchestrator',
        '/v1/queues/busy/check?fencing_token=1&x=1',
      )
      .map((path) => ({ method: 'GET', path: path.includes('?') ? path : `${path}?unknown=1` })),
  );

  /** Well-formed, and refused for what is in the database. */
  const badMeaning: fc.Arbitrary<Call> = fc
    .tuple(fc.constantFrom('held', 'waits', 'ended'), fc.integer({ min: 1, max: 1_000_000 }))
    .chain(([claimId, wrong]) => {
      const queue = claimId === 'ended' ? 'free' : 'busy';
      const path = `/v1/queues/${queue}/claims/${claimId}`;
      const post = (to: string, body: object): Call => ({ method: 'POST', path: to, body: JSON.stringify(body) });
      const taken = { holder: 'thief', claim_id: claimId };
      return fc.constantFrom<Call>(
        post(`${path}/renew`, { fencing_token: wrong }),
        post(`${path}/release`, { fencing_token: wrong, outcome: 'failure' }),
        post(`/v1/queues/${queue}/acquire`, taken),
        post(`/v1/queues/${queue}/acquire`, { ...taken, mode: 'latest_only', wait_ms: 60_000 }),
        post('/v1/queues/busy/acquire', { holder: 'h', mode: 'skip_if_busy', wait_ms: 60_000 }),
        post('/v1/queues/free/acquire', { holder: 'h', ttl_ms: 300_001 }),
        post('/v1/queues/none/acquire', { holder: 'h', ttl_ms: 86_400_000 }),
        post(`/v1/queues/none/claims/${claimId}/cancel`, {}),
        post(`/v1/queues/busy/claims/none-${wrong}/cancel`, {}),
        post(`/v1/queues/busy/claims/none-${wrong}/break`, { reason: 'r', actor: 'a' }),
        post(`/v1/queues/busy/claims/none-${wrong}/release`, { fencing_token: wrong }),
        post(`/v1/queues/${queue}/claims/${claimId}/retry`, { actor: 'a' }),
        post(`/v1/queues/${queue}/claims/${claimId}/skip`, { actor: 'a' }),
        post(`/v1/queues/none/claims/${claimId}/retry`, { actor: 'a' }),
        post(`/v1/queues/busy/claims/none-${wrong}/skip`, { actor: 'a' }),
        post(`/v1/queues/${queue}/enqueue`, { claim_id: claimId }),
        post(`/v1/queues/${queue}/enqueue`, { claim_id: `new-${wrong}`, payload: 'x'.repeat(262_143) }),
        post('/v1/take', { holder: 't', queue: 'free', ttl_ms: 300_001 }),
        post('/v1/queues/free/clean', { holder: 't', ttl_ms: 300_001 }),
        post('/v1/queues/none/unblock', { actor: 'a' }),
        post('/v1/queues/none/dead-letters/purge', { all: true, actor: 'a' }),
        { method: 'PUT', path: '/v1/queues/busy', body: '{"default_ttl_ms":400000,"paused":true}' },
        { method: 'DELETE', path: '/v1/queues/busy' },
        { method: 'DELETE', path: '/v1/queues/none?force=true' },
      );
    });
  return { known, aKnown, asJson, badBody, badOperation, badBytes, badPath, badQuery, badMeaning };
}
