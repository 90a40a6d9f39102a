export type EmbeddedServerErrorCode =
  | 'platform_unsupported'
  | 'binaries_unusable'
  | 'system_user_missing'
  | 'data_dir_missing'
  | 'data_dir_unreachable'
  | 'data_dir_invalid'
  | 'data_dir_version'
  | 'data_dir_lock_timeout'
  | 'password_mismatch'
  | 'initdb_failed'
  | 'start_failed'
  | 'start_timeout'
  | 'stop_failed';

/** Why the embedded server cannot be had. The message is written for the person who started the program. */
export class EmbeddedServerError extends Error {
  override readonly name = 'EmbeddedServerError';
  readonly code: EmbeddedServerErrorCode;

  constructor(code: EmbeddedServerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The `code` of a Node or PostgreSQL error ('ENOENT', '3D000'), or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
