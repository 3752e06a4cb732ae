/** What a route does beside forwarding: faults, mirrors, CORS (istio-semantics §5.9–§5.11). Checked only. */
import { z } from 'zod'

import { parseDurationMs } from '../grammar.ts'
import { fields, text } from '../schema.ts'
import { checkTextMatch, type RawTextMatch, textMatchSchema } from './text-match.ts'
import { duration, int32, percentage, strings, orNull } from './values.ts'

const GRPC_STATUS = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
]
const CORS_METHODS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  '*',
]
const TOKEN = /^(\*|[!#$%&'*+.^_`|~0-9A-Za-z-]+)$/

/** 600 passes (§0.8.6). */
export const httpStatus: z.ZodInt = z.int().min(200).max(600)

const abort = fields(
  {
    httpStatus: httpStatus.optional(),
    grpcStatus: text((status) =>
      GRPC_STATUS.includes(status)
        ? undefined
        : `found ${JSON.stringify(status)}, expected one of ${GRPC_STATUS.join(', ')}`,
    ).optional(),
    http2Error: z.string().optional(),
    percentage: percentage.optional(),
  },
  {
    check: ({ httpStatus: http, grpcStatus, http2Error }, report) => {
      if (http2Error !== undefined) report(['http2Error'], 'Istio has no such fault yet')
      if (http !== undefined && grpcStatus !== undefined)
        report([], 'both httpStatus and grpcStatus are set: expected one')
    },
  },
)

const delay = fields(
  {
    fixedDelay: duration.optional(),
    exponentialDelay: duration.optional(),
    percentage: percentage.optional(),
    percent: int32.optional(),
  },
  {
    check: ({ exponentialDelay }, report) => {
      if (exponentialDelay !== undefined)
        report(['exponentialDelay'], 'Istio has no such fault yet: expected fixedDelay')
    },
  },
)

export const faultSchema: z.ZodType = fields(
  { abort: abort.optional(), delay: delay.optional() },
  {
    check: (value, report) => {
      if (!value.abort && !value.delay)
        report([], 'neither abort nor delay is set: expected at least one')
    },
  },
)

const headerNames = z.array(
  text((name) =>
    TOKEN.test(name) ? undefined : `found ${JSON.stringify(name)}, expected a header name or "*"`,
  ),
)

const wholeSeconds = text((written) => {
  const ms = parseDurationMs(written) ?? 0
  return ms >= 1000 && ms % 1000 === 0
    ? undefined
    : `found ${JSON.stringify(written)}, expected a duration of whole seconds`
})

export const corsSchema: z.ZodType = fields(
  {
    allowOrigin: strings.optional(),
    allowOrigins: z.array(textMatchSchema).optional(),
    allowMethods: z
      .array(
        text((method) =>
          CORS_METHODS.includes(method)
            ? undefined
            : `found ${JSON.stringify(method)}, expected one of ${CORS_METHODS.join(', ')}`,
        ),
      )
      .optional(),
    allowHeaders: headerNames.optional(),
    exposeHeaders: headerNames.optional(),
    maxAge: wholeSeconds.optional(),
    allowCredentials: orNull(z.boolean()).optional(),
    unmatchedPreflights: z.enum(['UNSPECIFIED', 'FORWARD', 'IGNORE']).optional(),
  },
  {
    check: ({ allowOrigins = [] }, report) => {
      allowOrigins.forEach((origin: RawTextMatch, index) => {
        const path = ['allowOrigins', index]
        if (!(origin.exact || origin.prefix || origin.regex))
          report(path, 'it is empty: expected exact, prefix or regex')
        else checkTextMatch(origin, path, report)
      })
    },
  },
)
