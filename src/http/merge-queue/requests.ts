import {
  HoldTtlMs,
  type MergeAcquire,
  type MergeQueueId,
  type MergeRelease,
  type MergeRenew,
  parseHeadRef,
  reportedOutcomes,
} from '../../protocol/merge-queue.ts';
import { BadBody, type FailedField, NumberText, kindOf } from './body.ts';

/** Far above any ref or sha, in UTF-8; the original has no bound, and an index of PostgreSQL has one. */
const textBytesMax = 1000;
/** In characters. */
const requestIdLengthMax = 200;
export const waitMsMax = 60_000;
const int64Min = -(2n ** 63n);

/** Only the base refs that have slashes themselves may have them in a head ref: the original knows none of them. */
function isHeadRef(text: string, { baseRef }: MergeQueueId): boolean {
  const base = parseHeadRef(text)?.base;
  return base !== undefined && (!base.includes('/') || baseRef.includes('/'));
}

/** Whether PostgreSQL can keep it. */
function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

/**
 * Reads fields one by one and gathers what is not allowed, one failure a field. What has the wrong type is a BadBody 422 at
 * once, but for the fields the original does not know: theirs is a failure like any other.
 */
function fieldReader(request: string, fields: ReadonlyMap<string, unknown>) {
  const failed: FailedField[] = [];
  const fail = (field: string, tag: string, value = '') => {
    failed.push({ failed_field: `${request}.${field}`, tag, value });
  };
  const wrongType = (name: string, value: unknown, wanted: string) =>
    new BadBody(422, `json: cannot unmarshal ${kindOf(value)} into field ${name} of type ${wanted}`);

  const checkText = (field: string, value: string, length: number, lengthMax: number): boolean => {
    if (length > lengthMax) fail(field, 'max', String(lengthMax));
    else if (!isStorable(value)) fail(field, 'storable');
    else return true;
    return false;
  };

  return {
    /** Throws BadBody 400 with all that failed. */
    refuseFailed: () => {
      if (failed.length > 0) throw new BadBody(400, 'Invalid request', failed);
    },
    fail,
    text: (name: string, field: string): string => {
      const value = fields.get(name) ?? '';
      if (typeof value !== 'string') throw wrongType(name, value, 'string');
      if (value === '') fail(field, 'required');
      else checkText(field, value, Buffer.byteLength(value), textBytesMax);
      return value;
    },
    /** 1 or more; 0 counts as missing. */
    priority: (): number => {
      const value = fields.get('priority') ?? new NumberText('0');
      if (!(value instanceof NumberText) || !/^-?[0-9]+$/.test(value.source)) throw wrongType('priority', value, 'int');
      const exact = BigInt(value.source);
      if (exact > BigInt(Number.MAX_SAFE_INTEGER) || exact < int64Min) throw wrongType('priority', value, 'int');
      if (exact === 0n) fail('Priority', 'required');
      else if (exact < 0n) fail('Priority', 'min', '1');
      return Number(exact);
    },
    /** A field of ours; null = not given. */
    ownText: (name: string, field: string): string | null => {
      const value = fields.get(name);
      if (value === undefined) return null;
      if (typeof value !== 'string') fail(field, 'string');
      else if (value === '') fail(field, 'min', '1');
      else if (checkText(field, value, value.length, requestIdLengthMax)) return value;
      return null;
    },
    /** A field of ours; null = not given. */
    ownInteger: (name: string, field: string, [min, max]: readonly [number, number]): number | null => {
      const value = fields.get(name);
      if (value === undefined) return null;
      const number = value instanceof NumberText && /^-?[0-9]+$/.test(value.source) ? Number(value.source) : undefined;
      if (number === undefined) fail(field, 'int');
      else if (number < min) fail(field, 'min', String(min));
      else if (number > max) fail(field, 'max', String(max));
      else return number;
      return null;
    },
  };
}

type Fields = ReadonlyMap<string, unknown>;
type FieldReader = ReturnType<typeof fieldReader>;

const tokenRange = [1, Number.MAX_SAFE_INTEGER] as const;

function readFencingToken(read: FieldReader): number | null {
  return read.ownInteger('fencing_token', 'FencingToken', tokenRange);
}

function readHoldTtlMs(read: FieldReader): number | null {
  return read.ownInteger('hold_ttl_ms', 'HoldTTLMS', [1, HoldTtlMs.maxValue ?? 1]);
}

/** Which build, as acquire and release both say it. */
function readBuild(read: FieldReader, id: MergeQueueId) {
  const headSha = read.text('head_sha', 'HeadSHA');
  const headRef = read.text('head_ref', 'HeadRef');
  if (headRef !== '' && Buffer.byteLength(headRef) <= textBytesMax && isStorable(headRef) && !isHeadRef(headRef, id))
    read.fail('HeadRef', 'ghTempBranchRef');
  return { headSha, headRef, priority: read.priority() };
}

/** Throws BadBody. */
export function readAcquire(fields: Fields, id: MergeQueueId): MergeAcquire {
  const read = fieldReader('acquireRequest', fields);
  const call: MergeAcquire = {
    ...readBuild(read, id),
    requestId: read.ownText('request_id', 'RequestID'),
    fencingToken: readFencingToken(read),
    waitMs: read.ownInteger('wait_ms', 'WaitMS', [0, waitMsMax]) ?? 0,
    holdTtlMs: readHoldTtlMs(read),
  };
  read.refuseFailed();
  return call;
}

/** Throws BadBody. */
export function readRelease(fields: Fields, id: MergeQueueId): MergeRelease {
  const read = fieldReader('releaseRequest', fields);
  const build = readBuild(read, id);
  const status = read.text('status', 'Status');
  const outcome = reportedOutcomes.find((known) => known === status);
  // The value is the one of the original, which knows no `cancelled`.
  if (status !== '' && outcome === undefined) read.fail('Status', 'oneof', 'success failure');
  const fencingToken = readFencingToken(read);
  read.refuseFailed();
  return { ...build, outcome: outcome ?? 'failure', fencingToken };
}

/** Throws BadBody. */
export function readRenew(fields: Fields): MergeRenew {
  const read = fieldReader('renewRequest', fields);
  const headSha = read.text('head_sha', 'HeadSHA');
  if (!fields.has('fencing_token')) read.fail('FencingToken', 'required');
  const fencingToken = readFencingToken(read);
  const holdTtlMs = readHoldTtlMs(read);
  read.refuseFailed();
  return { headSha, fencingToken: fencingToken ?? 0, holdTtlMs };
}
