import { createLive, type Live } from '#core/live.ts'

/** One name that this sidecar subscribes to, and what it has of it. */
export interface Resource<T> {
  readonly name: string
  readonly live: Live<T | undefined>
  /** Version last received; '' before the first. */
  desired: string
  /** Version in force; '' when none. */
  applied: string
  rejected: { readonly version: string; readonly reason: string } | undefined
  /** Puts a compiled version in force; `undefined`: it is no longer held. */
  readonly put: (value: T | undefined, version: string) => void
}

/** A {@link Resource} of which nothing has come yet. */
export function createResource<T>(name: string): Resource<T> {
  const source = createLive<T | undefined>(undefined)
  const resource: Resource<T> = {
    name,
    live: source.live,
    desired: '',
    applied: '',
    rejected: undefined,
    put(value, version) {
      resource.applied = version
      resource.rejected = undefined
      source.set(value)
    },
  }
  return resource
}
