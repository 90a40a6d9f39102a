import { createHash, randomBytes } from 'node:crypto';

/** What the client shows: `sbx_<token_id>_<secret>`. The id finds the row, the secret proves the right to it. */
export interface PresentedToken {
  readonly tokenId: string;
  readonly secret: string;
}

export interface NewToken {
  readonly tokenId: string;
  /** The whole token; shown once and kept nowhere. */
  readonly token: string;
  readonly hash: Buffer;
}

/** 12 hexadecimal digits and 32 bytes in base64url, which may itself contain `_`; so the lengths are fixed. */
const tokenForm = /^sbx_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
/** RFC 6750; the name of a scheme is the same in any case. */
const bearerForm = /^bearer +(\S+) *$/i;

/** SHA-256 of the secret. The secret is 256 random bits, so nothing slower would make it harder to guess. */
export function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret, 'ascii').digest();
}

export function makeToken(): NewToken {
  const tokenId = randomBytes(6).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  return { tokenId, token: `sbx_${tokenId}_${secret}`, hash: hashOf(secret) };
}

/** The token of an Authorization header; undefined if it is of any other form. */
export function parseBearer(authorization: string): PresentedToken | undefined {
  const [, tokenId, secret] = tokenForm.exec(bearerForm.exec(authorization)?.[1] ?? '') ?? [];
  return tokenId === undefined || secret === undefined ? undefined : { tokenId, secret };
}
