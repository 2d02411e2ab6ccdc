/** Everything a server may send. */
import type { ErrorBody } from '@holdfast/base';
import { ERROR_CODES, isErrorCode } from '@holdfast/base';
import { z } from 'zod';
import type { Fields } from './check.ts';
import { booleanAt, fieldsAt, integerAt, invalid, isFields, U32 } from './check.ts';
import { errorBodySchema, requestIdSchema } from './common.ts';
import type { Goodbye, LeaderChanged, MembersChanged, Refused, Welcome } from './hello.ts';
import { leaderChangedSchema, membersChangedSchema, welcomeSchema } from './hello.ts';
import { parse } from './parse.ts';
import type { ResultBody } from './results.ts';

export const okResponseSchema = z
  .strictObject({
    id: requestIdSchema,
    ok: z.literal(true),
    result: z.record(z.string(), z.unknown()).describe('The result of the kind of the request.'),
  })
  .describe('Answer to a request that succeeded.');
export const errorResponseSchema = z
  .strictObject({ id: requestIdSchema, ok: z.literal(false), error: errorBodySchema })
  .describe('Answer to a request that failed.');

export interface ErrorResponse {
  readonly id: number;
  readonly ok: false;
  readonly error: ErrorBody;
}

/** As the server writes it. */
export interface OkResponse {
  readonly id: number;
  readonly ok: true;
  readonly result: ResultBody;
}

/** As the client reads it: only who asked knows the kind; see `checkResult`. */
export interface ReceivedOkResponse {
  readonly id: number;
  readonly ok: true;
  readonly result: Fields;
}

export type Response = OkResponse | ErrorResponse;
export type ReceivedResponse = ReceivedOkResponse | ErrorResponse;
export type ServerNotice = Welcome | Refused | LeaderChanged | MembersChanged | Goodbye;
export type Down = ServerNotice | Response;
export type ReceivedDown = ServerNotice | ReceivedResponse;

export const isNotice = (message: ReceivedDown): message is ServerNotice => 'kind' in message;

/** Validates one decoded map. @throws HoldfastError (any code) when it is not a server message */
export function checkDown(fields: Fields): ReceivedDown {
  if (fields.kind === undefined) return checkResponse(fields);
  switch (fields.kind) {
    case 'welcome':
      return parse(welcomeSchema, fields);
    case 'refused':
      return { kind: 'refused', error: errorBodyAt(fields.error) };
    case 'leaderChanged':
      return parse(leaderChangedSchema, fields);
    case 'membersChanged':
      return parse(membersChangedSchema, fields);
    case 'goodbye':
      return { kind: 'goodbye', error: errorBodyAt(fields.error) };
    default:
      throw invalid('kind', 'welcome, refused, leaderChanged, membersChanged or goodbye');
  }
}

function checkResponse(fields: Fields): ReceivedResponse {
  const id = integerAt(fields.id, U32, 'id');
  if (booleanAt(fields.ok, 'ok'))
    return { id, ok: true, result: fieldsAt(fields.result, 'result') };
  return { id, ok: false, error: errorBodyAt(fields.error) };
}

/**
 * A code of a newer server becomes INTERNAL, which is indefinite and therefore safe; `retry` comes
 * from our own table, and `definite` can only be lowered by what was received.
 */
function errorBodyAt(value: unknown): ErrorBody {
  const body = fieldsAt(value, 'error');
  const message = typeof body.message === 'string' ? body.message : 'the server gave no message';
  const details = isFields(body.details) ? body.details : {};
  if (!isErrorCode(body.code)) {
    const { definite, retry } = ERROR_CODES.INTERNAL;
    const receivedCode = String(body.code);
    return { code: 'INTERNAL', message, definite, retry, details: { ...details, receivedCode } };
  }
  const facts = ERROR_CODES[body.code];
  const definite = facts.definite && body.definite === true;
  return { code: body.code, message, definite, retry: facts.retry, details };
}
