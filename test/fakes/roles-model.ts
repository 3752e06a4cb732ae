/** Roles that may call paths, as a Casbin model. It begins at line 2. */
export const ROLES = `
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && pathMatch(r.obj, p.obj) && r.act == p.act
`

/** {@link ROLES} as `spec.model` of a CasbinPolicy. */
export const ROLES_MODEL: string = `  model:
    inline: |${ROLES.trimEnd().replaceAll('\n', '\n      ')}`
