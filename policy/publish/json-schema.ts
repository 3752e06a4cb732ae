/** JSON Schema of a manifest, for editors: from the same zod schema that judges it. */
import { z } from 'zod'
import type { Kind } from '../dialects/kind.ts'
import { isNotYet } from '../dialects/carried-out.ts'
import { describe } from './descriptions.ts'

/** A JSON Schema, or a part of one. */
export type JsonSchema = { readonly [key: string]: unknown }

/** Said of a field that is checked and that no mesh carries out; `validate` warns of it. */
export const NOT_CARRIED_OUT = 'Valid, and not carried out yet: no mesh starts with it.'

/** Draft 2020-12. Closed at every level, as `redoubt validate` is; rules that no field alone can say are its own. */
export function jsonSchemaOf(kind: Kind): JsonSchema {
  const { $schema, ...rest } = schemaOf(kind)
  return {
    $schema,
    $id: `https://redoubt.io/schemas/${fileNameOf(kind)}.json`,
    title: kind.kind,
    ...rest,
    properties: {
      ...(rest['properties'] as JsonSchema),
      apiVersion: { type: 'string', enum: apiVersionsOf(kind) },
    },
  }
}

/** `group_kind`, lower case: the same for every file about a kind. */
export function fileNameOf({ group, kind }: Pick<Kind, 'group' | 'kind'>): string {
  return `${group === '' ? 'core' : group}_${kind.toLowerCase()}`
}

/** As manifests write them, the preferred one first. */
export function apiVersionsOf({ group, versions }: Pick<Kind, 'group' | 'versions'>): string[] {
  return versions.map((version) => (group === '' ? version : `${group}/${version}`))
}

/** What zod makes of the kind's schema, with a sentence where there is one, and without limits that are none. */
export function schemaOf({ kind, schema }: Kind): JsonSchema {
  const made = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override({ zodSchema, jsonSchema }) {
      if (isNotYet(zodSchema)) jsonSchema.description = NOT_CARRIED_OUT
      if (jsonSchema.maxItems === Number.MAX_SAFE_INTEGER) delete jsonSchema.maxItems
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
      // A string names a property anyway.
      delete jsonSchema.propertyNames
    },
  }) as JsonSchema
  return described(made, { kind, at: '' })
}

/** Sentences belong to places: one zod schema may stand in many. */
function described(schema: JsonSchema, where: { kind: string; at: string }): JsonSchema {
  const { kind, at } = where
  const description = describe(kind, at.replace(/^\.spec\.?/, '')) ?? schema['description']
  const { properties, items, additionalProperties } = schema
  const inner = (part: unknown, step: string): unknown =>
    typeof part === 'object' ? described(part as JsonSchema, { kind, at: at + step }) : part
  return {
    ...schema,
    ...(description === undefined ? {} : { description }),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties as JsonSchema).map(([name, one]) => [
              name,
              inner(one, `.${name}`),
            ]),
          ),
        }),
    ...(items === undefined ? {} : { items: inner(items, '[]') }),
    ...(additionalProperties === undefined
      ? {}
      : { additionalProperties: inner(additionalProperties, '[]') }),
  }
}
