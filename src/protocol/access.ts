import { z } from 'zod';
import { plainText } from './ids.ts';

/** What a token allows, each including the ones before: look; take part; change settings and end what others hold. */
export const scopes = ['read', 'use', 'admin'] as const;
export const Scope = z.enum(scopes);
export type Scope = z.infer<typeof Scope>;

export function includesScope(has: Scope, needed: Scope): boolean {
  return scopes.indexOf(has) >= scopes.indexOf(needed);
}

export const TokenName = plainText(200);
export const QueuePrefix = z
  .string()
  .regex(/^[A-Za-z0-9._:/@-]{0,200}$/, 'must be up to 200 characters of A-Z a-z 0-9 . _ : / @ -');

/** Who calls. Without `tokenId`: anybody, since no token was ever made and only this machine can reach us. */
export interface Caller {
  readonly tokenId: string | undefined;
  readonly name: string | undefined;
  readonly scope: Scope;
  /** Only queues whose names begin so; '' = all. */
  readonly queuePrefix: string;
}

/** Says who calls, by the Authorization header. */
export interface Gatekeeper {
  /**
   * Throws SignalboxError: 401 `unauthenticated`; 503 `not_ready` or `database_unavailable` while it cannot know which
   * tokens are good. It never lets a caller in for want of knowledge.
   */
  identify(authorization: string | undefined): Caller;
}

/** A token anywhere in a text, also one cut short. Its id is no secret. */
const tokenInText = /sbx_([0-9a-f]{12})_[A-Za-z0-9_-]+/g;

/** The text without the secrets of any tokens in it. */
export function withoutSecrets(text: string): string {
  return text.includes('sbx_') ? text.replace(tokenInText, 'sbx_$1_[redacted]') : text;
}
