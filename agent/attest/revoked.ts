import type { DenyKind } from '#ca/x509/index.ts'

/** Why a node is nobody whose certificate is on the deny-list, and what to do, in the words of the CA. */
export function revokedReason({
  kind,
  value,
}: {
  readonly kind: DenyKind
  readonly value: string
}): string {
  const denied = `the ${kind} ${value} is on the deny-list`
  return kind === 'spiffe-id'
    ? `its identity was revoked (${denied}): nobody has it until that is undone (redoubt ca revoke --undo)`
    : `its certificate was revoked (${denied}); attest again with a join token or other evidence`
}
