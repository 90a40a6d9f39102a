import { describe, expect, it } from 'vitest';
import {
  LeaseLostError,
  PermanentFailure,
  ReleaseRequestedError,
  RetryLater,
  WorkerStoppingError,
} from '../../../src/client/index.ts';
import { ErrorText } from '../../../src/protocol/claims.ts';
import { endingOfReturn, endingOfThrow, errorText } from '../../../src/client/worker/outcomes.ts';
import { aWorker } from './a-worker.ts';

class RateLimitedError extends Error {}
class BadInputError extends Error {}
class WorseInputError extends BadInputError {}

const rules = [
  { error: RateLimitedError, outcome: 'retry', retryAfterMs: 5000 },
  { error: BadInputError, outcome: 'failure' },
  { error: WorseInputError, outcome: 'cancelled' },
] as const;
const calm = new AbortController().signal;

describe('the end of a run', () => {
  it('is success when its handler returns, whatever it returns but a control', () => {
    for (const value of [undefined, null, false, 'text', new Error('just a value')]) {
      expect(endingOfReturn(value, rules)).toEqual({ outcome: 'success' });
    }
    expect(endingOfReturn(new RetryLater(1000), rules)).toMatchObject({ outcome: 'retry', retryAfterMs: 1000 });
    expect(endingOfReturn(new PermanentFailure('no'), rules)).toMatchObject({ outcome: 'failure' });
  });

  it('follows the first rule whose class fits, then the ready-made classes; any other throw is retried with backoff', () => {
    for (const [error, ending] of [
      [new RateLimitedError('slow down'), { outcome: 'retry', retryAfterMs: 5000 }],
      [new BadInputError('bad'), { outcome: 'failure', retryAfterMs: undefined }],
      [new WorseInputError('worse'), { outcome: 'failure', retryAfterMs: undefined }],
      [new RetryLater(250), { outcome: 'retry', retryAfterMs: 250 }],
      [new RetryLater(), { outcome: 'retry', retryAfterMs: undefined }],
      [new PermanentFailure('no'), { outcome: 'failure', retryAfterMs: undefined }],
      [new Error('any other'), { outcome: 'retry', retryAfterMs: undefined }],
      ['no error at all', { outcome: 'retry', retryAfterMs: undefined }],
    ] as const) {
      expect(endingOfThrow(error, rules, calm)).toMatchObject(ending);
    }
  });

  it('sends only delays that the service takes', () => {
    const sent = [-5, 0.4, Infinity, NaN].map((ms) => endingOfThrow(new RetryLater(ms), [], calm).retryAfterMs);
    expect(sent).toEqual([0, 0, 31_536_000_000, undefined]);
  });

  it('is what the abort asks for when the handler threw because of it, and what a rule says when it did not', () => {
    const aborted = (reason: Error) => AbortSignal.abort(reason);
    const stopping = aborted(new WorkerStoppingError());
    const asked = aborted(new ReleaseRequestedError());
    const late = aborted(new LeaseLostError('no_renewal'));
    const abortError = new DOMException('aborted', 'AbortError');
    for (const error of [stopping.reason, abortError, new Error('its query was cancelled')]) {
      expect(endingOfThrow(error, rules, stopping)).toMatchObject({ outcome: 'retry', retryAfterMs: 0 });
    }
    for (const error of [asked.reason, abortError, new Error('its query was cancelled')]) {
      expect(endingOfThrow(error, rules, asked)).toMatchObject({ outcome: 'cancelled' });
    }
    const catchAll = [{ error: Error, outcome: 'failure' }] as const;
    for (const error of [asked.reason, abortError]) {
      expect(endingOfThrow(error, catchAll, asked)).toMatchObject({ outcome: 'cancelled' });
    }
    expect(endingOfThrow(new BadInputError('bad'), rules, asked)).toMatchObject({ outcome: 'failure' });
    // What an abort has done by itself is no error of the handler; anything else may be.
    for (const error of [asked.reason, abortError]) {
      expect(endingOfThrow(error, rules, asked)).toEqual({ outcome: 'cancelled' });
    }
    for (const error of [stopping.reason, abortError]) {
      expect(endingOfThrow(error, rules, stopping).error).toBe('the worker stopped before the handler was done');
    }
    expect(endingOfThrow(new Error('its query broke'), rules, asked).error).toMatch(/^Error: its query broke\n/);
    expect(endingOfThrow(late.reason, rules, late)).toMatchObject({ outcome: 'retry', retryAfterMs: undefined });
  });

  it('goes along with message, stack and cause: never too long, nothing the service refuses, no token', () => {
    const text = errorText(new Error('it broke', { cause: new Error('the disk is full') }));
    expect(text).toMatch(/^Error: it broke\n +at /);
    expect(text).toMatch(/caused by: Error: the disk is full$/);
    const nameless = new Error('shown all the same');
    nameless.stack = 'a stack without it';
    expect(errorText(nameless)).toBe('Error: shown all the same\na stack without it');
    const secret = `sbx_0123456789ab_${'x'.repeat(40)}`;
    expect(errorText(new Error(`refused ${secret} for api.example`))).toContain(
      'refused sbx_0123456789ab_[redacted] for',
    );
    const unshowable = {
      get stack() {
        throw new Error('no');
      },
    };
    Object.setPrototypeOf(unshowable, Error.prototype);
    const cut = `${'x'.repeat(3999)}😀`;
    for (const thrown of [undefined, null, 0, { code: 7 }, Object.create(null), unshowable, 'a\0b', '\ud800', cut]) {
      expect(ErrorText.safeParse(errorText(thrown)).success).toBe(true);
    }
    expect(errorText({ code: 7 })).toBe('{ code: 7 }');
  });
});

describe('a worker', () => {
  it('reports each run by the class its handler threw, tells which are retried and which failed, and goes on', async () => {
    await using at = await aWorker(['a', 'b', 'c', 'd'], { rules });
    await at.desk.fail('a', new RateLimitedError('slow down'));
    await at.desk.fail('b', new BadInputError('no field name in the payload'));
    await at.desk.fail('c', new Error('any other'));
    await at.desk.end('d');
    await at.told('retried a', 'failed b', 'retried c', 'ended d');
    expect(at.runs.released).toMatchObject([
      { claim_id: 'a', outcome: 'retry', retry_after_ms: 5000 },
      { claim_id: 'b', outcome: 'failure' },
      { claim_id: 'c', outcome: 'retry' },
      { claim_id: 'd', outcome: 'success' },
    ]);
    expect(at.runs.released[1]?.error).toMatch(/^Error: no field name in the payload\n/);
    expect(at.runs.released[3]).not.toHaveProperty('error');
  });

  it('hands run and payload to the handler with its attempt, token and signal', async () => {
    const seen: unknown[] = [];
    await using at = await aWorker([], {
      handler: (run, context) => {
        seen.push(run.payload, { ...context, signal: context.signal.aborted });
        throw new PermanentFailure();
      },
    });
    at.runs.put({ claim_id: 'a', payload: { to: 'you' }, attempt: 3, slot: 2 });
    await at.told('failed a');
    expect(seen).toEqual([{ to: 'you' }, { signal: false, attempt: 3, maxAttempts: 5, fencingToken: 101, slot: 2 }]);
  });
});
