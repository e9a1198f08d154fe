/** What a bundle was built from (cli/build.ts): two that differ in it may compute other bits. */
declare const BUILD_ID: string | undefined;

export const buildId = typeof BUILD_ID === 'string' ? BUILD_ID : 'unbuilt';
