/** Version of the product, as its package.json says: a test compares them. */
export const PRODUCT_VERSION = '0.1.0';
