from client import KVClient

# Using context manager (recommended)
with KVClient(host='localhost', port=9999) as client:
    # Put operation
    client.put('user:1000', 'John Doe')
    
    # Get operation
    value = client.get('user:1000')
    print(f"Value: {value}")
    
    # Batch put
    keys = ['user:1001', 'user:1002', 'user:1003']
    values = ['Alice', 'Bob', 'Charlie']
    client.batch_put(keys, values)
    
    # Range query
    results = client.get_range('user:1000', 'user:1003')
    for key, value in results:
        print(f"{key}: {value}")
    
    # Delete operation
    client.delete('user:1000')
