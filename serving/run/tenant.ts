/** The header that names a request's tenant. Whoever lets requests in sets it; a client's own never comes this far. */
export const TENANT = 'x-turnstone-tenant';

/** The tenant that a request is of; `public` where keys are not told apart. */
export const tenantOf = (request: Request): string => request.headers.get(TENANT) ?? 'public';

/** What the names of a request's pages are salted with: no tenant's pages can answer another's prefix. */
export const saltOf = (tenant: string, cacheSalt: string | undefined): string => JSON.stringify([tenant, cacheSalt ?? '']);
