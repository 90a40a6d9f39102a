import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { elementTexts, memberText } from '../../src/http/member-text.ts';
import { anId } from '../support/http-client.ts';
import { type TestApp } from '../support/test-app.ts';
import { oneReplica } from '../support/one-replica.ts';

let replica: TestApp;
oneReplica((parts) => ({ replica } = parts));

const largest = `"${'ü'.repeat(131_071)}"`;
const payloads: [title: string, text: string][] = [
  ['null', 'null'],
  ['false', 'false'],
  ['an empty string', '""'],
  ['an empty object', '{}'],
  ['white space everywhere', '{ "a" :\r\n\t[ 1 ,\n 2 ] ,  "b":{ } }'],
  ['the order of keys', '{"z":1,"a":2,"10":3,"9":4}'],
  ['numbers as they were written', '[1.0,1.10,1E+2,1e2,-0,0.1e-7,100000000000000000000000.50]'],
  ['an integer beyond 2^53', '9007199254740993'],
  ['numbers no program can hold', `[1e999,-1e999,1e-999,${'9'.repeat(1000)}]`],
  ['escapes as they were written', String.raw`"\u00fc\u0041\/\b\f\n\r\t\"\\ü"`],
  ['NUL', String.raw`{"\u0000":"a\u0000b"}`],
  ['half a surrogate pair', String.raw`["\ud800","\udc00x","\ud83d\ude00","\uD83D"]`],
  ['text beyond ASCII', '"ü 😀 \u2028\u2029\u202e\ufeff\u007f"'],
  ['backslashes before the end', String.raw`["\\","\\\\","\\\""]`],
  ['what looks like a template', String.raw`"$1 $& $$ %s {} \u0024{x}"`],
  ['what looks like SQL', `"'; drop table signalbox.queues; -- \\u0027"`],
  ['what looks like another payload', String.raw`{"payload":{"payload":"\"payload\":1"}}`],
  ['what looks like a token', '"sbx_0123456789ab_secretsecret"'],
  ['an array as PostgreSQL writes it', '"{\\"a\\",NULL}"'],
  ['nesting of 31', `${'['.repeat(31)}${']'.repeat(31)}`],
  ['262144 bytes', largest],
];

async function ask(method: string, path: string, body?: string): Promise<{ status: number; text: string }> {
  const response = await fetch(replica.url + path, {
    method,
    ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, text: await response.text() };
}
/** Long ones by what is left of them, so that a difference can be read. */
const shown = (text: string | undefined) =>
  text === undefined || text.length < 2000
    ? text
    : `${text.length} characters, ${createHash('sha256').update(text).digest('hex')}`;
const payloadsIn = (text: string, list: string) =>
  elementTexts(memberText(text, list) ?? '').map((element) => shown(memberText(element, 'payload')));

describe('a payload comes back byte for byte', () => {
  it.each(payloads)('%s', async (_title, payload) => {
    const queue = anId('q');
    // The name of the member is written with an escape, and white space around the value belongs to nothing.
    const body = `{"claim_id":"a", "\\u0070ayload" : ${payload} }`;
    expect((await ask('POST', `/v1/queues/${queue}/enqueue`, body)).status).toBe(201);
    const take = JSON.stringify({ queue, holder: 'worker', request_id: anId('take') });
    const taken = await ask('POST', '/v1/take', take);
    expect(payloadsIn(taken.text, 'claims')).toEqual([shown(payload)]);
    // Again by the same request, and again as a dead letter.
    expect(payloadsIn((await ask('POST', '/v1/take', take)).text, 'claims')).toEqual([shown(payload)]);
    const [claim] = (JSON.parse(taken.text) as { claims: { fencing_token: number }[] }).claims;
    const failure = JSON.stringify({ fencing_token: claim?.fencing_token, outcome: 'failure' });
    expect((await ask('POST', `/v1/queues/${queue}/claims/a/release`, failure)).status).toBe(200);
    const dead = await ask('GET', `/v1/dead-letters?queue=${queue}`);
    expect(payloadsIn(dead.text, 'dead_letters')).toEqual([shown(payload)]);
    // And redriven.
    const redrive = await ask('POST', `/v1/queues/${queue}/dead-letters/redrive`, '{"all":true,"actor":"a"}');
    expect(redrive).toMatchObject({ status: 200, text: '{"redriven":1,"not_found":[]}' });
    const retaken = await ask('POST', '/v1/take', JSON.stringify({ queue, holder: 'worker' }));
    expect(payloadsIn(retaken.text, 'claims')).toEqual([shown(payload)]);
  });

  it('of many in one answer each has its own', async () => {
    const queue = anId('q');
    await replica.client.put(queue, { concurrency_limit: null });
    for (const [, payload] of payloads) await ask('POST', `/v1/queues/${queue}/enqueue`, `{"payload":${payload}}`);
    const { text } = await ask('POST', '/v1/take', JSON.stringify({ queue, holder: 'worker', max: 1000 }));
    expect(payloadsIn(text, 'claims')).toEqual(payloads.map(([, payload]) => shown(payload)));
  });

  it('without one the taker gets null', async () => {
    const queue = anId('q');
    expect((await replica.client.enqueue(queue)).status).toBe(201);
    expect((await replica.client.takeOne({ queue })).payload).toBeNull();
  });
});
