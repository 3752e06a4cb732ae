/** `spec.model` of a CasbinPolicy: roles that may call paths, a line for each. */
export const ROLES_MODEL = `  model:
    inline: |
      [request_definition]
      r = sub, obj, act
      [policy_definition]
      p = sub, obj, act
      [role_definition]
      g = _, _
      [policy_effect]
      e = some(where (p.eft == allow))
      [matchers]
      m = g(r.sub, p.sub) && pathMatch(r.obj, p.obj) && r.act == p.act`
