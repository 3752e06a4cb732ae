/** Where a secret is: no manifest holds one. */
import type { z } from 'zod'

import type { SecretPlace } from '../../model/mesh-authority.ts'
import { fields, text } from '../schema.ts'

/** Text that says something. */
export const filled: z.ZodString = text((written) => (written === '' ? 'it is empty' : undefined))

const environment = text((written) =>
  /^REDOUBT_[A-Z0-9_]+$/.test(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected a name that starts with REDOUBT_: others reach the apps`,
)

/** The wire form that {@link secret} accepts. */
export interface WrittenSecret {
  readonly file?: string | undefined
  readonly env?: string | undefined
}

/** A file or a variable. */
export const secret: z.ZodType<WrittenSecret> = fields(
  { file: filled.optional(), env: environment.optional() },
  {
    check: ({ file, env }, report) => {
      if ((file === undefined) === (env === undefined)) report([], 'expected file or env')
    },
  },
)

export function readSecret(written: WrittenSecret | undefined): SecretPlace {
  return written?.env === undefined ? { file: written?.file ?? '' } : { env: written.env }
}
