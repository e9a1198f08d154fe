/** An object as its callers see it (port.ts of each): the platform's own types of its methods unfold nested JSON without end. */
export const stubAs = <T>(stub: DurableObjectStub): T => stub as unknown as T;
